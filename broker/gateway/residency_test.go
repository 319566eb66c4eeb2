package gateway_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/fakegithub/hub"
)

// GitHub with data residency has the API at another host than git, without /api/v3. The
// gateway hides that difference.
func TestDataResidency(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, `{allowedRepos: [acme/widgets], allowedRefs: ["agent/**"], verify: ancestry, permissions: {contents: write, issues: write, pull_requests: write}}`, fakegithub.Options{Residency: "acme.ghe.com"})
	h, err := hub.Attach(w.Server)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := h.AddIssue("acme", "widgets", "acme", "It squeaks"); err != nil {
			t.Fatal(err)
		}
	}
	w.clone()
	w.mustGit("push", "-q", "origin", "HEAD:refs/heads/agent/x")
	w.mustGit("commit", "-q", "--allow-empty", "-m", "more")
	w.mustGit("push", "-q", "origin", "HEAD:refs/heads/agent/x") // by the API call that updates a ref
	if out, ok := w.git("push", "origin", "HEAD:main"); ok || !strings.Contains(out, "no rule allows it") {
		t.Errorf("git push of main prints %s", out)
	}
	if got, want := w.ref("refs/heads/agent/x"), w.mustGit("rev-parse", "HEAD"); got != want {
		t.Errorf("the branch is at %s, want %s", got, want)
	}
	session := w.Session("acme/widgets")
	ask := func(method, path, body string) (string, http.Header) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+session)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusOK || strings.Contains(string(text), "api.acme.ghe.com") {
			t.Errorf("%s %s: %d %s, want no address of GitHub's API", method, path, response.StatusCode, text)
		}
		return string(text), response.Header
	}
	text, header := ask("GET", "/api/v3/repos/acme/widgets/issues?per_page=2", "")
	var issues []struct {
		URL     string `json:"url"`
		HTMLURL string `json:"html_url"`
	}
	if err := json.Unmarshal([]byte(text), &issues); err != nil || len(issues) != 2 || !strings.HasPrefix(issues[0].URL, w.url+"/api/v3/repos/acme/widgets/issues/") || !strings.HasPrefix(issues[0].HTMLURL, "https://acme.ghe.com/acme/widgets/issues/") {
		t.Errorf("issues: %v %s", err, text)
	}
	if link := header.Get("Link"); !strings.Contains(link, "<"+w.url+"/api/v3/repositories/") {
		t.Errorf("Link: %s, want the next page at the gateway", link)
	}
	if text, _ := ask("POST", "/api/graphql", `{"query":"{repository(owner:\"acme\",name:\"widgets\"){name}}"}`); !strings.Contains(text, `"name":"widgets"`) {
		t.Errorf("GraphQL answers %s", text)
	}
	if text, _ := ask("GET", "/api/v3/meta", ""); !strings.Contains(text, "installed_version") {
		t.Errorf("meta: %s", text)
	}
	hosts := map[string]bool{}
	for _, r := range w.Requests() {
		hosts[r.Host+" "+strings.Split(r.Path+"/", "/")[1]] = true
	}
	for seen := range hosts {
		if !slices.Contains([]string{"acme.ghe.com acme", "api.acme.ghe.com app", "api.acme.ghe.com repos", "api.acme.ghe.com graphql", "api.acme.ghe.com meta", "api.acme.ghe.com installation"}, seen) {
			t.Errorf("GitHub was asked at %s", seen)
		}
	}
}

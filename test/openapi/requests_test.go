package openapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestWatchKnowsWhatGitHubDoes(t *testing.T) {
	var known []operation
	if err := json.Unmarshal(operations, &known); err != nil {
		t.Fatal(err)
	}
	w := &watcher{t, Load(t, "../fakegithub/testdata/openapi/schemas.json"), append(known, redirects), nil}
	const mint = "https://api.github.com/app/installations/1/access_tokens"
	for _, c := range []struct {
		request, body string
		isKnown       bool
	}{
		{"GET https://api.github.com/app", "", true},
		{"GET https://ghe.example/api/v3/app/installations?per_page=100&page=2", "", true},
		{"POST " + mint, `{"repositories":["widgets"],"permissions":{"contents":"read"}}`, true},
		{"GET https://api.github.com/repositories/1", "", true},
		{"GET https://api.github.com/repos/acme/widgets/contents/README.md", "", true},
		{"GET https://api.github.com/repos/acme/widgets/contents/.github/a/b.yaml?ref=main", "", true},
		{"GET https://api.github.com/repos/acme/widgets/contents", "", false},
		{"GET https://api.github.com/repos/acme/widgets/contents/a?path=b", "", false},
		{"GET https://api.github.com/apps", "", false},
		{"POST https://api.github.com/app", "", false},
		{"GET https://api.github.com/app?per_page=1", "", false},
		{"GET https://api.github.com/orgs//installation", "", false},
		{"GET https://api.github.com/app", `{}`, false},
		{"POST " + mint, `{"repositories":"widgets"}`, false},
		{"POST " + mint, `{"permissions":{"contents":"all"}}`, false},
		{"POST " + mint, `{"repository":["widgets"]}`, false},
	} {
		method, url, _ := strings.Cut(c.request, " ")
		r, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.check(r, []byte(c.body)); (err == nil) != c.isKnown {
			t.Errorf("%s %s: %v, want known: %v", c.request, c.body, err, c.isKnown)
		}
	}
}

package fakegithub

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestLookups(t *testing.T) {
	w := newWorld(t, Options{})
	w.repository(Repository{Owner: "octocat", Name: "hello"})
	w.repository(Repository{Owner: "octocat", Name: "other"})
	_, err := w.gh.AddInstallation(Installation{AppID: w.app.ID, Account: "octocat", AccountType: User, Repositories: []string{"hello"}})
	w.must(err)
	for _, test := range []struct {
		path   string
		status int
		login  string
	}{
		{"/orgs/ACME/installation", 200, "acme"},
		{"/users/acme/installation", 200, "acme"},
		{"/users/octocat/installation", 200, "octocat"},
		{"/orgs/octocat/installation", 404, ""},
		{"/orgs/nobody/installation", 404, ""},
		{"/repos/acme/widgets/installation", 200, "acme"},
		{"/repos/OctoCat/HELLO/installation", 200, "octocat"},
		{"/repos/octocat/other/installation", 404, ""},
		{"/repos/acme/nothing/installation", 404, ""},
		{"/app/installations/0", 404, ""},
		{"/app/installations/abc", 404, ""},
		{"/app/", 404, ""},
		{"//app", 404, ""},
		{"/app/../app", 404, ""},
	} {
		got := w.rest("GET", test.path, w.jwt(), "")
		account, _ := got.body["account"].(map[string]any)
		if login, _ := account["login"].(string); got.status != test.status || login != test.login {
			t.Errorf("GET %s = %d %s, want %d %s", test.path, got.status, login, test.status, test.login)
		}
	}
}

var nextLink = regexp.MustCompile(`<([^>]+)>; rel="next"`)

// follow counts the items on each page, by the Link header.
func (w *world) follow(path, bearer string, count func(reply) int) []int {
	w.t.Helper()
	var pages []int
	for len(pages) < 100 {
		got := w.rest("GET", path, bearer, "")
		w.wantStatus(got, 200)
		pages = append(pages, count(got))
		next := nextLink.FindStringSubmatch(got.header.Get("Link"))
		if next == nil {
			return pages
		}
		path = strings.TrimPrefix(next[1], w.gh.URL())
	}
	return pages
}

func TestInstallationsArePaged(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 104 {
		_, err := w.gh.AddInstallation(Installation{AppID: w.app.ID, Account: fmt.Sprintf("org-%d", i), AccountType: Organization})
		w.must(err)
	}
	entries := func(r reply) int { return strings.Count(string(r.raw), `"access_tokens_url"`) }
	for path, want := range map[string]string{
		"/app/installations":                         "[30 30 30 15]",
		"/api/v3/app/installations?per_page=50":      "[50 50 5]",
		"/app/installations?per_page=1000":           "[100 5]",
		"/app/installations?per_page=0":              "[30 30 30 15]",
		"/app/installations?per_page=100&page=2":     "[5]",
		"/app/installations?per_page=100&page=9":     "[0]",
		"/app/installations?per_page=105000&page=-1": "[100 5]",
	} {
		if got := fmt.Sprint(w.follow(path, w.jwt(), entries)); got != want {
			t.Errorf("pages of %s = %s, want %s", path, got, want)
		}
	}
}

func TestRepositoriesArePaged(t *testing.T) {
	w := newWorld(t, Options{})
	entries := func(r reply) int { return strings.Count(string(r.raw), `"clone_url"`) }
	if got := fmt.Sprint(w.follow("/installation/repositories?per_page=2", w.token(nil), entries)); got != "[2 1]" {
		t.Errorf("pages = %s, want [2 1]", got)
	}
	got := w.rest("GET", "/installation/repositories", w.token(nil, "gadgets"), "")
	if got.body["total_count"] != 1.0 || got.text("repository_selection") != "selected" {
		t.Errorf("narrowed token: %s, want one repository, selected", got.raw)
	}
}

func TestRepositoryVisibility(t *testing.T) {
	w := newWorld(t, Options{})
	narrow := w.token(mayRead, "gadgets")
	for _, test := range []struct {
		who, bearer, path string
		status            int
	}{
		{"nobody", "", "/repos/acme/site", 200},
		{"nobody", "", "/repos/acme/widgets", 404},
		{"narrow token", narrow, "/repos/ACME/Gadgets", 200},
		{"narrow token", narrow, "/repos/acme/widgets", 404},
		{"narrow token", narrow, "/repos/acme/site", 200},
		{"bad token", "ghs_bad", "/repos/acme/site", 401},
		{"narrow token", narrow, "/app", 401},
	} {
		if got := w.rest("GET", test.path, test.bearer, ""); got.status != test.status {
			t.Errorf("%s, GET %s = %d, want %d", test.who, test.path, got.status, test.status)
		}
	}
}

func TestRenamedRepositoryRedirectsByID(t *testing.T) {
	w := newWorld(t, Options{})
	id := w.stored("widgets").ID
	w.must(w.gh.RenameRepository("acme", "widgets", "sprockets"))
	token := w.token(nil)
	got := w.rest("GET", "/api/v3/repos/acme/widgets", token, "")
	want := fmt.Sprintf("%s/api/v3/repositories/%d", w.gh.URL(), id)
	if got.status != 301 || got.header.Get("Location") != want {
		t.Errorf("old name = %d %q, want 301 %q", got.status, got.header.Get("Location"), want)
	}
	if got := w.rest("GET", fmt.Sprintf("/repositories/%d", id), token, ""); got.text("full_name") != "acme/sprockets" {
		t.Errorf("by ID = %q, want acme/sprockets", got.text("full_name"))
	}
	w.wantStatus(w.rest("GET", "/repos/acme/widgets/installation", w.jwt(), ""), 301)
	w.wantStatus(w.rest("GET", "/repos/acme/widgets", "", ""), 404)
}

func TestSuspendAndUninstallOverREST(t *testing.T) {
	w := newWorld(t, Options{})
	path := fmt.Sprintf("/app/installations/%d", w.inst.ID)
	w.wantStatus(w.rest("PUT", path+"/suspended", w.jwt(), ""), 204)
	if got := w.rest("GET", path, w.jwt(), ""); got.body["suspended_at"] == nil {
		t.Error("suspended_at is null, want a time")
	}
	w.wantStatus(w.rest("DELETE", path+"/suspended", w.jwt(), ""), 204)
	w.wantStatus(w.rest("DELETE", path, w.jwt(), ""), 204)
	w.wantStatus(w.rest("GET", path, w.jwt(), ""), 404)
}

func TestRateLimit(t *testing.T) {
	w := newWorld(t, Options{RateLimit: 3})
	token := w.token(nil)
	for left := 2; left >= 0; left-- {
		got := w.rest("GET", "/repos/acme/widgets", token, "")
		if got.status != 200 || got.header.Get("X-RateLimit-Remaining") != fmt.Sprint(left) {
			t.Errorf("answer = %d, %s left, want 200, %d left", got.status, got.header.Get("X-RateLimit-Remaining"), left)
		}
	}
	got := w.rest("GET", "/repos/acme/widgets", token, "")
	if got.status != 403 || !strings.HasPrefix(got.text("message"), "API rate limit exceeded") || got.header.Get("X-RateLimit-Reset") == "" {
		t.Errorf("fourth answer = %d %q, want 403 with a reset time", got.status, got.text("message"))
	}
	w.wantStatus(w.rest("GET", "/rate_limit", token, ""), 200)
	w.gh.Advance(time.Hour)
	w.wantStatus(w.rest("GET", "/repos/acme/widgets", w.token(nil), ""), 200)
}

func TestHeadersAreChecked(t *testing.T) {
	w := newWorld(t, Options{})
	for _, test := range []struct {
		header, value string
		status        int
	}{
		{"User-Agent", "", 403},
		{"X-GitHub-Api-Version", "2022-11-28", 200},
		{"X-GitHub-Api-Version", "2021-01-01", 400},
		{prefixHeader, "/elsewhere", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.gh.URL()+"/app", nil)
		w.must(err)
		req.Header.Set("Authorization", "Bearer "+w.jwt())
		req.Header.Set(test.header, test.value)
		got := w.send(req)
		if got.status != test.status || got.header.Get("X-GitHub-Request-Id") == "" || strings.Contains(string(got.raw), "elsewhere") {
			t.Errorf("%s: %q: answer = %d %s, want %d", test.header, test.value, got.status, got.raw, test.status)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	w := newWorld(t, Options{})
	repository := func(owner, name string) error {
		_, err := w.gh.AddRepository(Repository{Owner: owner, Name: name})
		return err
	}
	installation := func(in Installation) error {
		in.AppID = w.app.ID
		_, err := w.gh.AddInstallation(in)
		return err
	}
	for what, err := range map[string]error{
		"a name taken in another case":        repository("acme", "WIDGETS"),
		"a name ending in .git":               repository("acme", "x.git"),
		"a name ending in .wiki":              repository("acme", "x.Wiki"),
		"a name that is a path":               repository("acme", ".."),
		"an owner that is no name":            repository("a/b", "x"),
		"a second installation":               installation(Installation{Account: "Acme"}),
		"another account type":                installation(Installation{Account: "acme", AccountType: User}),
		"an unknown account type":             installation(Installation{Account: "new", AccountType: "Bot"}),
		"a repository that is not there":      installation(Installation{Account: "new", Repositories: []string{"x"}}),
		"all and some":                        installation(Installation{Account: "new", RepositorySelection: "all", Repositories: []string{"x"}}),
		"more permission than the App has":    installation(Installation{Account: "new", Permissions: Permissions{"packages": "read"}}),
		"a level that does not exist":         installation(Installation{Account: "new", Permissions: Permissions{"contents": "all"}}),
		"suspending an unknown installation":  w.gh.Suspend(1, true),
		"renaming to a name that is taken":    w.gh.RenameRepository("acme", "widgets", "Gadgets"),
		"minting for an unknown installation": func() error { _, err := w.gh.MintFor(1, nil, nil); return err }(),
	} {
		if err == nil {
			t.Errorf("%s: accepted, want an error", what)
		}
	}
}

package rest

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/internal/gitname"
)

var widgets = gitname.Repo{Owner: "acme", Name: "widgets"}

// Both layouts mean the same: below /api/v3 on the broker's name, and at the root of
// api.NAME, as at GitHub Enterprise Server and github.com.
func TestBothLayoutsHaveTheSameTargets(t *testing.T) {
	for _, c := range []struct {
		path string // below the base
		want target
	}{
		{"", target{area: restArea}},
		{"/", target{area: restArea}},
		{"/meta", target{area: restArea, path: "/meta"}},
		{"/user", target{area: restArea, path: "/user"}},
		{"/rate_limit", target{area: restArea, path: "/rate_limit"}},
		{"/search/issues?q=a+b&page=2", target{area: restArea, path: "/search/issues", query: "q=a+b&page=2"}},
		{"/users/dependabot%5Bbot%5D", target{area: restArea, path: "/users/dependabot%5Bbot%5D"}},
		{"/repos/Acme/Widgets", target{area: restArea, path: "/repos/Acme/Widgets", repo: widgets}},
		{"/repos/acme/widgets/pulls/1", target{area: restArea, path: "/repos/acme/widgets/pulls/1", repo: widgets, tail: "/pulls/1"}},
		{"/repos/acme/widgets/git/ref/tags%2Fv1", target{area: restArea, path: "/repos/acme/widgets/git/ref/tags%2Fv1", repo: widgets, tail: "/git/ref/tags%2Fv1"}},
		{"/repos/acme/widgets/contents/.github%2Fworkflows%2Fci.yml", target{area: restArea, path: "/repos/acme/widgets/contents/.github%2Fworkflows%2Fci.yml", repo: widgets, tail: "/contents/.github%2Fworkflows%2Fci.yml"}},
		{"/repos/acme/widgets/contents/100%25", target{area: restArea, path: "/repos/acme/widgets/contents/100%25", repo: widgets, tail: "/contents/100%25"}},
		{"/repos/acme/widgets/compare/main...you:agent", target{area: restArea, path: "/repos/acme/widgets/compare/main...you:agent", repo: widgets, tail: "/compare/main...you:agent"}},
		{"/repos/acme/widgets/git/matching-refs/heads/", target{area: restArea, path: "/repos/acme/widgets/git/matching-refs/heads/", repo: widgets, tail: "/git/matching-refs/heads/"}},
		{"/repositories/7/issues?page=2", target{area: restArea, path: "/repositories/7/issues", query: "page=2", id: 7, tail: "/issues"}},
	} {
		for base, host := range map[string]string{"/api/v3": "gate.example:8443", "": "api.gate.example:8443"} {
			want := c.want
			want.base = base
			uri := base + c.path
			if uri == "" {
				continue // no client sends an empty target
			}
			if want.path == "/" {
				want.path = ""
			}
			got, err := parseTarget(host, uri)
			if err != nil || got != want {
				t.Errorf("%s%s: %+v, %v, want %+v", host, uri, got, err, want)
			}
		}
	}
}

func TestAreas(t *testing.T) {
	for _, c := range []struct {
		host, path string
		want       area
	}{
		{"gate.example", "/api/graphql", graphqlArea},
		{"api.gate.example", "/api/graphql", graphqlArea},
		{"api.gate.example", "/graphql", graphqlArea},
		{"API.gate.example", "/graphql", graphqlArea},
		{"gate.example", "/api/uploads/repos/a/b/releases/1/assets", uploadArea},
		{"api.gate.example", "/api/v3/user", restArea},
		{"gate.example", "/graphql", 0},
		{"gate.example", "/api/v4/user", 0},
		{"gate.example", "/api/v3x", 0},
		{"gate.example", "/API/V3/user", 0},
		{"gate.example", "/api/graphql/", 0},
		{"api.gate.example", "/api/other", 0},
		{"gate.api.example", "/user", 0},
	} {
		got, err := parseTarget(c.host, c.path)
		if got.area != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%s%s: area %d, %v, want %d", c.host, c.path, got.area, err, c.want)
		}
	}
}

func TestTargetsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, uri string }{
		{"a whole URL", "https://api.github.com/user"},
		{"a host to connect to", "api.github.com:443"},
		{"the server itself", "*"},
		{"nothing", ""},
		{"an empty segment", "/api/v3//repos/acme/widgets"},
		{"an empty segment inside", "/api/v3/repos/acme//widgets"},
		{"a segment up", "/api/v3/repos/acme/widgets/../../installation/token"},
		{"a segment up at the end", "/api/v3/repos/acme/widgets/.."},
		{"a segment of one dot", "/api/v3/repos/acme/widgets/./pulls"},
		{"a segment up, escaped", "/api/v3/repos/acme/widgets/%2e%2E/x"},
		{"a segment up behind an escaped slash", "/api/v3/repos/acme/widgets/contents/..%2f..%2fx"},
		{"a segment up, escaped twice", "/api/v3/repos/acme/widgets/contents/%252e%252e%252fx"},
		{"a segment up, escaped three times", "/api/v3/repos/acme/widgets/contents/%25252e%25252e/x"},
		{"an escaped slash in the owner", "/api/v3/repos/acme%2fwidgets/x"},
		{"an escaped slash in the name", "/api/v3/repos/acme/widgets%2f..%2fother"},
		{"an escaped slash without a repository", "/api/v3/users/a%2Fb"},
		{"an escape in the first segment", "/api/v3/%69nstallation/token"},
		{"capitals in the first segment", "/api/v3/Installation/token"},
		{"a broken escape", "/api/v3/repos/acme/widgets/contents/%zz"},
		{"half an escape", "/api/v3/repos/acme/widgets/contents/%2"},
		{"an escaped NUL", "/api/v3/repos/acme/widgets/contents/%00"},
		{"an escaped line feed", "/api/v3/repos/acme/widgets/contents/a%0Ab"},
		{"an escaped backslash", "/api/v3/repos/acme/widgets/contents/..%5c"},
		{"a backslash", `/api/v3/repos/acme/widgets\..\x`},
		{"a parameter of a segment", "/api/v3/repos/acme/widgets;x=1/pulls"},
		{"a blank", "/api/v3/repos/acme/widgets/a b"},
		{"a fragment", "/api/v3/user#x"},
		{"what is not ASCII", "/api/v3/users/\u212Aelvin"},
		{"a control character in the query", "/api/v3/user?a=\x01"},
		{"a fragment in the query", "/api/v3/user?a=#b"},
		{"a long path", "/api/v3/repos/acme/widgets/" + strings.Repeat("a", maxPath)},
		{"a long query", "/api/v3/user?" + strings.Repeat("a", maxQuery+1)},
		{"an owner alone", "/api/v3/repos/acme"},
		{"no owner", "/api/v3/repos"},
		{"a name with .git", "/api/v3/repos/acme/widgets.git/pulls"},
		{"a wiki", "/api/v3/repos/acme/widgets.wiki"},
		{"not an id", "/api/v3/repositories/x/issues"},
		{"an id with a sign", "/api/v3/repositories/+7/issues"},
		{"an id with zeros", "/api/v3/repositories/007/issues"},
		{"an id of nothing", "/api/v3/repositories/0/issues"},
		{"an id that is too large", "/api/v3/repositories/99999999999999999999/issues"},
	} {
		if got, err := parseTarget("gate.example", c.uri); err == nil {
			t.Errorf("%s: %q is taken for %+v", c.name, c.uri, got)
		}
	}
}

func TestWhatIsTheAPIs(t *testing.T) {
	for _, c := range []struct {
		host, target string
		want         bool
	}{
		{"gate.example", "/api/v3/user", true},
		{"gate.example", "/api/graphql", true},
		{"gate.example", "/api/x", true},
		{"gate.example", "/user", false},
		{"gate.example", "/repos/acme/widgets", false},
		{"gate.example", "/acme/widgets.git/info/refs?service=git-upload-pack", false},
		{"api.gate.example:8443", "/api/v3/user", true},
		{"api.gate.example:8443", "/user", true},
		{"api.gate.example:8443", "/graphql", true},
		{"api.gate.example:8443", "/repos/acme/info/refs", true},
		{"api.gate.example:8443", "/repos/acme/git-upload-pack", true},
		{"api.gate.example:8443", "/acme/widgets.git/info/refs?service=git-upload-pack", false},
		{"api.gate.example:8443", "/acme/widgets/info/lfs/objects/batch", false},
		{"api.gate.example:8443", "/acme/widgets/git-receive-pack", false},
		{"api.gate.example:8443", "/git/github.com/acme/widgets/info/refs", false},
		{"api.gate.example:8443", "/v1/session", false},
		{"api.gate.example:8443", "/readyz", false},
		{"api.gate.example:8443", "/", false},
	} {
		if got := Serves(c.host, c.target); got != c.want {
			t.Errorf("Serves(%s, %s) = %v, want %v", c.host, c.target, got, c.want)
		}
	}
}

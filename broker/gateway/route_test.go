package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/gitname"
)

var servedHosts = []string{"github.com", "ghe.example:8443"}

func TestParseRoute(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, target string
		want                 string // repository, service and rest; or the status of the refusal
	}{
		{"a fetch", "GET", "/git/github.com/acme/widgets.git/info/refs?service=git-upload-pack", "acme/widgets git-upload-pack advertise"},
		{"without .git", "GET", "/git/github.com/acme/widgets/info/refs?service=git-upload-pack", "acme/widgets git-upload-pack advertise"},
		{"the short form", "POST", "/acme/widgets.git/git-receive-pack", "acme/widgets git-receive-pack"},
		{"in another case", "POST", "/Acme/Widgets.GIT/git-upload-pack", "acme/widgets git-upload-pack"},
		{"another host", "POST", "/git/ghe.example:8443/acme/widgets/git-upload-pack", "acme/widgets git-upload-pack"},
		{"an account of enterprise-managed users", "POST", "/a_corp/w-1._/git-upload-pack", "a_corp/w-1._ git-upload-pack"},
		{"large files", "POST", "/acme/widgets.git/info/lfs/objects/batch", "acme/widgets lfs /objects/batch"},

		{"a host that is not served", "GET", "/git/gitlab.com/acme/widgets.git/info/refs?service=git-upload-pack", "404"},
		{"a host that only begins so", "GET", "/git/github.com.evil.example/acme/widgets.git/info/refs?service=git-upload-pack", "404"},
		{"no repository", "GET", "/git/github.com/acme", "404"},
		{"a page", "GET", "/git/github.com/acme/widgets/pulls", "404"},
		{"a wiki", "GET", "/acme/widgets.wiki.git/info/refs?service=git-upload-pack", "403"},
		{"a wiki in capitals", "GET", "/acme/widgets.WIKI.git/info/refs?service=git-upload-pack", "403"},
		{"an archive", "POST", "/acme/widgets/git-upload-archive", "403"},
		{"the dumb protocol", "GET", "/acme/widgets/info/refs", "403"},
		{"an object", "GET", "/acme/widgets/objects/info/packs", "403"},
		{"HEAD", "GET", "/acme/widgets/HEAD", "403"},

		{"two services", "GET", "/acme/widgets/info/refs?service=git-upload-pack&service=git-receive-pack", "400"},
		{"a service in escapes", "GET", "/acme/widgets/info/refs?service=git%2dreceive-pack", "400"},
		{"an empty query", "GET", "/acme/widgets/info/refs?", "400"},
		{"another order", "GET", "/acme/widgets/info/refs?x=1&service=git-upload-pack", "400"},
		{"a query behind a POST", "POST", "/acme/widgets/git-receive-pack?service=git-upload-pack", "400"},
		{"an empty one", "POST", "/acme/widgets/git-receive-pack?", "400"},
		{"a method", "POST", "/acme/widgets/info/refs?service=git-upload-pack", "405"},
		{"another", "GET", "/acme/widgets/git-receive-pack", "405"},
		{"HEAD of the refs", "HEAD", "/acme/widgets/info/refs?service=git-upload-pack", "405"},

		{"percent", "POST", "/acme/widgets%2egit/git-receive-pack", "400"},
		{"an escaped slash", "POST", "/acme%2fwidgets/x/git-receive-pack", "400"},
		{"dots", "POST", "/acme/../other/x/git-receive-pack", "400"},
		{"dots as a name", "POST", "/git/github.com/acme/../git-receive-pack", "400"},
		{"two slashes", "POST", "/git/github.com//acme/widgets/git-receive-pack", "400"},
		{"a slash behind", "POST", "/acme/widgets/git-receive-pack/", "400"},
		{"a semicolon", "POST", "/acme/widgets;x/git-receive-pack", "400"},
		{"a backslash", "POST", `/acme/widgets\x/git-receive-pack`, "400"},
		{"a Kelvin sign", "POST", "/acme/wid\u212aets/git-receive-pack", "400"},
		{"a name that is too long", "POST", "/acme/" + strings.Repeat("a", 101) + "/git-receive-pack", "400"},
		{"an owner that is too long", "POST", "/" + strings.Repeat("a", 40) + "/widgets/git-receive-pack", "400"},
		{"an owner with a dot", "POST", "/ac.me/widgets/git-receive-pack", "400"},
		{"only .git", "POST", "/acme/.git/git-receive-pack", "400"},
		{"twice .git", "POST", "/acme/widgets.git.git/git-receive-pack", "400"},
	} {
		if got := routeText(parseRoute(c.method, c.target, servedHosts)); got != c.want {
			t.Errorf("%s: parseRoute(%s %s) = %s, want %s", c.name, c.method, c.target, got, c.want)
		}
		if !isOurs(c.target) && c.want != "404" && !strings.Contains(c.target, "..") && !strings.Contains(c.name, "slash") && !strings.Contains(c.name, "archive") {
			t.Errorf("%s: isOurs(%s) = false, want true", c.name, c.target)
		}
	}
}

func routeText(r route, err error) string {
	if err != nil {
		return strconv.Itoa(broker.RefusalOf(err).Status)
	}
	text := r.repo.String() + " " + string(r.service)
	if r.advertise {
		text += " advertise"
	}
	if r.lfs != "" {
		text += " " + r.lfs
	}
	return text
}

// The broker's own paths are never taken for a repository's.
func TestTheBrokersPathsAreNotOurs(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/v1/token", "/v1/x/info/refs?service=git-upload-pack", "/api/v3/repos/a/b/info/refs", "/console/style.css", "/healthz", "/", "", "*", "http://x/git/github.com/a/b/info/refs", "/a/b", "/a/b/pulls"} {
		if isOurs(target) {
			t.Errorf("isOurs(%q) = true, want false", target)
		}
	}
}

// An accepted path names one repository in one way, and needs no decoding.
func FuzzParseRoute(f *testing.F) {
	f.Add("GET", "/git/github.com/acme/widgets.git/info/refs?service=git-upload-pack")
	f.Add("POST", "/acme/widgets.wiki/git-receive-pack")
	f.Add("POST", "/acme/..%2f/git-receive-pack")
	f.Fuzz(func(t *testing.T, method, target string) {
		r, err := parseRoute(method, target, servedHosts)
		if err != nil {
			if status := broker.RefusalOf(err).Status; status < 400 || status >= 500 {
				t.Errorf("parseRoute(%q) is refused with %d", target, status)
			}
			return
		}
		again, ok := gitname.Repository(r.repo.String())
		if !ok || again != r.repo || r.service == "" {
			t.Fatalf("parseRoute(%q) = %+v", target, r)
		}
		path, _, _ := strings.Cut(target, "?")
		if !strings.Contains(gitname.Fold(path), "/"+r.repo.String()) || strings.ContainsAny(path, "%\\;") || strings.Contains(path, "//") || strings.Contains(path, "/../") {
			t.Errorf("parseRoute(%q) = %+v", target, r)
		}
		if r.service == receivePack && !r.advertise && method != http.MethodPost {
			t.Errorf("a push by %s", method)
		}
	})
}

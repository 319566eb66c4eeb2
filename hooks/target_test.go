package hooks

import "testing"

// A push to a path, as git understands paths, is not judged, so a remote that leads to
// a host must not count as a path (url_is_local_not_ssh and transport_get of git's
// source).
func TestTargetOf(t *testing.T) {
	paths := []string{
		"/srv/x.git", "../x.git", "x", "x y", "~/x", "./github.com:acme/x", "/a:b", "file:///srv/x", "file://github.com/acme/x",
		"file://x", "@x", "-x", "a\nb",
	}
	for _, url := range paths {
		if got := TargetOf(url); !got.Path || got.Host != "" {
			t.Errorf("TargetOf(%q) = %+v, want a path", url, got)
		}
	}
	hosts := map[string]string{
		"https://github.com/acme/x":           "github.com",
		"https://u:p@GitHub.com:443/acme/x":   "github.com",
		"https://github.com:8443/acme/x":      "github.com:8443",
		"https://github.com@evil.example/x":   "evil.example",
		"http://github.com/x":                 "github.com",
		"git://github.com/x":                  "github.com",
		"ssh://git@github.com:22/acme/x":      "github.com:22",
		"git+ssh://github.com/x":              "github.com",
		"ssh://localhost/x":                   "localhost",
		"ssh://git@[::1]:22/x":                "[::1]:22",
		"github.com:acme":                     "github.com",
		"git@github.com:acme/x":               "github.com",
		"git@github.com:/acme/x":              "github.com",
		"[git@github.com:22]:acme/x":          "github.com:22",
		"git@[::1]:x":                         "[::1]",
		"c:/x":                                "c",
		"gitlab.com:x://github.com":           "",
		"foo::/srv/x":                         "",
		"::/srv/x":                            "",
		"ext::sh -c x":                        "",
		"file::/srv/x":                        "",
		"FILE:///srv/x":                       "",
		"/x/ssh://github.com/x":               "",
		"https://github.com\\@evil.example/x": "",
		"https://evil.example /x":             "",
		"ssh://github%2ecom/x":                "",
		"https:///x":                          "",
		":x":                                  "",
		"[x:y":                                "",
		`\\server\share:x`:                    "",
		"":                                    "",
	}
	for url, want := range hosts {
		if got := TargetOf(url); got.Path || got.Host != want {
			t.Errorf("TargetOf(%q) = %+v, want the host %q", url, got, want)
		}
	}
}

// A port of a host in a workspace file is one of https. The other protocols have their
// own ports, so the name decides: a push to a listed host is judged.
func TestTargetIn(t *testing.T) {
	hosts := []string{"github.com", "ghe.example:8443", "[::1]:9"}
	for url, want := range map[string]bool{
		"https://github.com/x": true, "https://ghe.example:8443/x": true, "https://ghe.example/x": false,
		"https://github.com:8443/x": false, "http://github.com:8080/x": true, "ssh://git@github.com:2222/x": true,
		"git@ghe.example:x": true, "ssh://ghe.example:22/x": true, "ssh://[::1]/x": true, "https://[::1]/x": false,
		"https://evil.github.com/x": false, "git@github.com.evil:x": false, "/x": false, "foo::x": false,
	} {
		if got := TargetOf(url).In(hosts); got != want {
			t.Errorf("TargetOf(%q).In(%q) = %v, want %v", url, hosts, got, want)
		}
	}
}

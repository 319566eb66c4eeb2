package main

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/internal/gitname"
)

var remotes = map[string]place{
	"https://github.com/acme/widgets.git":           {"github.com", "acme/widgets.git"},
	"https://GitHub.com:443/Acme/Widgets/":          {"github.com", "Acme/Widgets"},
	"https://ghe.example:8443/acme/widgets":         {"ghe.example:8443", "acme/widgets"},
	"https://x:ghs_secret99@github.com/acme/w":      {"github.com", "acme/w"},
	"git@github.com:acme/widgets.git":               {"github.com", "acme/widgets.git"},
	"github.com:acme/widgets":                       {"github.com", "acme/widgets"},
	"ssh://git@github.com:22/acme/widgets.git":      {"github.com", "acme/widgets.git"},
	"git+ssh://github.com/acme/widgets":             {"github.com", "acme/widgets"},
	"":                                              {},
	"origin":                                        {},
	"../remote.git":                                 {},
	"/srv/git@github.com:acme/widgets":              {},
	"./github.com:acme/widgets":                     {},
	"file:///srv/acme/widgets":                      {},
	"http://github.com/acme/widgets":                {},
	"https://github.com/acme":                       {},
	"https://github.com/acme/widgets/tree/main":     {},
	"https://github.com.evil.example@/acme/w":       {},
	"https://github.com%2f@evil example/acme/w":     {},
	"https://github.com/acme/../w":                  {},
	"ext::sh -c 'echo github.com:acme/widgets'":     {},
	"https://x:ghs_secret99secret@github.com/a/b/c": {},
}

func TestParseRemote(t *testing.T) {
	for remote, want := range remotes {
		got, err := parseRemote(remote)
		if got != want || (err == nil) != (want != place{}) {
			t.Errorf("parseRemote(%q) = %+v, %v, want %+v", remote, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "ghs_secret") {
			t.Errorf("parseRemote(%q) tells the secret: %v", remote, err)
		}
	}
}

// FuzzParseRemote: an accepted remote has an exact host and owner/name.
func FuzzParseRemote(f *testing.F) {
	for remote := range remotes {
		f.Add(remote)
	}
	f.Fuzz(func(t *testing.T, remote string) {
		got, err := parseRemote(remote)
		if err != nil {
			if got != (place{}) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("parseRemote(%q) = %+v, %q", remote, got, err)
			}
			return
		}
		host, ok := gitname.Host(got.host)
		if _, _, named := gitname.Path(got.path); !ok || host != got.host || !named || strings.ContainsAny(got.path, "\n\x00") {
			t.Errorf("parseRemote(%q) = %+v, want an exact host and owner/name", remote, got)
		}
	})
}

package hooks

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseSettings(t *testing.T) {
	got := parseSettings("core.hookspath\n/low\x00remote.a.mirror\ntrue\x00remote.b\nx.mirror\x00remote.c.mirror\x00" +
		"remote.d.mirror\nyes\x00remote.d.mirror\nOFF\x00remote.https://x/y.mirror\n1\x00core.hookspath\n~/high\nx\x00gatepass.chainhookspath\n/foreign\x00")
	slices.Sort(got.mirrors)
	want := settings{hooksPaths: []string{"~/high\nx", "/low"}, chainPath: "/foreign", chained: true, mirrors: []string{"a", "c", "https://x/y"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parseSettings = %+v, want %+v", got, want)
	}
	if got := parseSettings(""); !reflect.DeepEqual(got, settings{}) {
		t.Errorf("parseSettings of nothing = %+v, want nothing", got)
	}
}

func TestChainDir(t *testing.T) {
	ours, foreign := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(ours, "pre-commit"), []byte(Shim{Guard: "/opt/gatepass-pre-push", Event: "pre-commit"}.Text()), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", "/home/me")
	for _, c := range []struct {
		name string
		s    settings
		want string
	}{
		{"nothing set", settings{}, "/repo/.git/hooks"},
		{"only ours", settings{hooksPaths: []string{ours}}, "/repo/.git/hooks"},
		{"ours over a foreign one", settings{hooksPaths: []string{ours, foreign}}, foreign},
		{"ours twice over a foreign one", settings{hooksPaths: []string{ours, ours, foreign}}, foreign},
		{"ours under something that called us", settings{hooksPaths: []string{foreign, ours}}, "/repo/.git/hooks"},
		{"one that the installer replaced", settings{hooksPaths: []string{ours, foreign}, chainPath: "~/hooks", chained: true}, "/home/me/hooks"},
		{"hooks turned off below ours", settings{hooksPaths: []string{ours, ""}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Repository{settings: c.s, common: "/repo/.git"}
			if got := r.chainDir("pre-commit"); got != c.want {
				t.Errorf("chainDir = %q, want %q", got, c.want)
			}
		})
	}
}

func TestRedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"origin":                                "origin",
		"/srv/x.git":                            "/srv/x.git",
		"https://github.com/acme/x.git":         "https://github.com/acme/x.git",
		"https://me:pw@github.com/acme/x":       "https://github.com/acme/x",
		"https://pw@github.com/acme/x":          "https://github.com/acme/x",
		"https://github.com:8443/x?token=pw":    "https://github.com:8443/x",
		"https://github.com/x#pw":               "https://github.com/x",
		"https://me:p/w@github.com/x":           "https://…",
		"https://me:12/pw@github.com/x":         "https://…",
		"https://me:p@pw@github.com/x":          "https://github.com/x",
		"https://me:pw%zz@github.com/x":         "https://…",
		"https://me:pw@github.com/x@y":          "https://…",
		"me:p@pw@github.com:acme/x":             "github.com:acme/x",
		"git@github.com:acme/x":                 "git@github.com:acme/x",
		"me:pw@github.com:acme/x":               "github.com:acme/x",
		"ext::sh -c x https://me:pw@github.com": "ext::sh -c x https://…",
		"file:///srv/x.git":                     "file:///srv/x.git",
		"https://me:pw\x1b@github.com/x":        "https://…",
	} {
		if got := RedactURL(in); got != want {
			t.Errorf("RedactURL(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRedactURL(f *testing.F) {
	f.Add("https://", "github.com/x")
	f.Add("ssh://u", "h:22/x@y")
	f.Add("http+x::https://a/", "b/c")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hunter2"
		if got := RedactURL("https://me:" + secret + "@" + after); strings.Contains(got, secret) && !strings.Contains(after, secret) {
			t.Errorf("RedactURL(…@%q) = %q, want no password", after, got)
		}
		RedactURL(before + after)
	})
}

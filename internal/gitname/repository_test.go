package gitname

import (
	"strings"
	"testing"
)

func TestPathTakesOffWhatGitAdds(t *testing.T) {
	for path, want := range map[string]string{
		"acme/widgets":                        "acme/widgets",
		"Acme/Widgets.git":                    "acme/widgets",
		"acme/widgets.git/":                   "acme/widgets",
		"acme/widgets.git?x=1#y":              "acme/widgets",
		"acme/widgets.git/info/lfs":           "acme/widgets",
		"acme/widgets/info/lfs/objects/batch": "acme/widgets",
		"acme/widgets.wiki.git":               "acme/widgets",
		"acme/info":                           "acme/info",
		"acme/widgets#readme":                 "acme/widgets",
		"acme/widgets#a?b":                    "acme/widgets",
		"a-b/c":                               "a-b/c",
		"a_b/c.d-e_f":                         "a_b/c.d-e_f",
		"":                                    "",
		"acme":                                "",
		"acme/":                               "",
		"acme/widgets/tree":                   "",
		"acme//widgets":                       "",
		"acme/..":                             "",
		"../widgets":                          "",
		"acme/wid%67ets":                      "",
		"acme/widgets?/../../acme/secret":     "", // curl turns widgets%3f/../../acme/secret into /acme/secret
		"acme/widgets/info/lfs/../../../a/b":  "",
		"acme/widgets#/./..":                  "",
		"acme/widgets?..":                     "",
		"acme/widgets/info/lfs//objects":      "",
		`acme/widgets?\..`:                    "",
		"acme/widgets?a=%2e":                  "",
		"acme/widgets#..":                     "",
		"acme/widgets?/./a":                   "",
		"acme/..git":                          "", // "." and ".." after ".git" is removed
		"acme/...git":                         "",
		"acme/...wiki.git":                    "",
		"/widgets":                            "",
		"/info/lfs":                           "",
		"ac.me/widgets":                       "",
		"@cme/widgets":                        "",
		"acme/@widgets":                       "",
		"acme/wid gets":                       "",
		"acme/widgets?a..b":                   "acme/widgets",
		`acme\widgets`:                        "",
		"acme/widgets/info/lfsx":              "",
		"-acme/widgets":                       "",
		"acme/.git":                           "",
		"\u212aeys/x":                         "",
	} {
		owner, name, ok := Path(path)
		got := ""
		if ok {
			got = owner + "/" + name
		}
		if got != want {
			t.Errorf("Path(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestPathIsNoLongerThanGitHubAllows(t *testing.T) {
	owner, name := strings.Repeat("o", 39), strings.Repeat("n", 100)
	for path, want := range map[string]bool{
		owner + "/" + name + ".git": true,
		owner + "o/" + name:         false,
		owner + "/" + name + "n":    false,
	} {
		if _, _, ok := Path(path); ok != want {
			t.Errorf("Path(%q) ok = %v, want %v", path, ok, want)
		}
	}
}

func TestARepositoryIsExactlyOwnerAndName(t *testing.T) {
	for full, want := range map[string]Repo{
		"acme/widgets":        {"acme", "widgets"},
		"Acme/Widgets":        {"acme", "widgets"},
		"a_b/c.d-e_f":         {"a_b", "c.d-e_f"},
		"acme/.github":        {"acme", ".github"},
		"acme/info":           {"acme", "info"},
		"acme/widgets.git":    {},
		"acme/widgets.wiki":   {},
		"acme/widgets.GIT":    {},
		"acme/widgets.Wiki":   {},
		"acme/widgets/":       {},
		"/acme/widgets":       {},
		"acme/widgets?x=1":    {},
		"acme/widgets#y":      {},
		"acme/x/info/lfs":     {},
		"acme/..":             {},
		"acme":                {},
		"":                    {},
		"acme/widgets\n":      {},
		"acme/wid%67ets":      {},
		"acme/widgets/tree":   {},
		" acme/widgets":       {},
		"\u212aeys/x":         {},
		"acme/\u017fettings":  {},
		"acme/widgets.git/":   {},
		"acme/widgets.git?":   {},
		"acme/widgets.git?/.": {},
	} {
		got, ok := Repository(full)
		if got != want || ok != (want != Repo{}) {
			t.Errorf("Repository(%q) = %v, %v, want %v", full, got, ok, want)
		}
	}
	if (Repo{}).IsValid() || (Repo{"acme", "a/b"}).IsValid() || (Repo{"Acme", "widgets"}).IsValid() || (Repo{"acme", "x.git"}).IsValid() {
		t.Error("a Repo that Repository does not make is valid")
	}
}

// A name that Repository accepts has one text, which it accepts again, and which is the
// path that git would use.
func FuzzRepository(f *testing.F) {
	for _, full := range []string{"acme/widgets", "Acme/.github", "acme/widgets.git", "a/b/c", "acme/x.wiki", "acme/..git", "/", "a/b?c", `a\b/c`} {
		f.Add(full)
	}
	f.Fuzz(func(t *testing.T, full string) {
		r, ok := Repository(full)
		if !ok {
			if r != (Repo{}) {
				t.Errorf("Repository(%q) = %v with false", full, r)
			}
			return
		}
		text, err := r.MarshalText()
		if err != nil || string(text) != r.String() || !strings.EqualFold(string(text), full) || !r.IsValid() {
			t.Errorf("Repository(%q) = %v, %q, %v, want the same repository", full, r, text, err)
		}
		if owner, name, ok := Path("/" + full); ok {
			t.Errorf("Path(%q) = %q, %q: a leading slash is no part of a path", "/"+full, owner, name)
		}
		if owner, name, ok := Path(r.String() + ".git"); !ok || (Repo{owner, name}) != r {
			t.Errorf("Path(%v.git) = %q, %q, %v", r, owner, name, ok)
		}
	})
}

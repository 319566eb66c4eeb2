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
		"acme/widgets?/../../acme/secret":     "", // curl makes /acme/secret of widgets%3f/../../acme/secret
		"acme/widgets/info/lfs/../../../a/b":  "",
		"acme/widgets#/./..":                  "",
		"acme/widgets?..":                     "",
		"acme/widgets/info/lfs//objects":      "",
		`acme/widgets?\..`:                    "",
		"acme/widgets?a=%2e":                  "",
		"acme/widgets#..":                     "",
		"acme/widgets?/./a":                   "",
		"acme/..git":                          "", // "." and ".." once ".git" is off
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

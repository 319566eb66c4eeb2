package mint

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// changed is an App before a GitHub whose answers to a mint are changed.
func changed(t *testing.T, change func(map[string]any)) *github {
	t.Helper()
	g := newGitHub(t)
	g.app.Client = &http.Client{Transport: meddler{g.Transport(), change}}
	return g
}

// What cannot be used and is not known well enough to be revoked is counted.
func TestAnAnswerWithoutATokenIsNone(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"no token":           func(o map[string]any) { delete(o, "token") },
		"the word for none":  func(o map[string]any) { o["token"] = "null" },
		"two lines":          func(o map[string]any) { o["token"] = "ghs_x\nghs_y" },
		"no expiry":          func(o map[string]any) { delete(o, "expires_at") },
		"an expiry in words": func(o map[string]any) { o["expires_at"] = "soon" },
	} {
		g := changed(t, change)
		m, err := g.app.Mint(t.Context(), g.grant())
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != Unavailable || e.Unseen != 1 || m.Unconfirmed != 1 || !m.Token.IsZero() {
			t.Errorf("%s: Mint = %+v, %v, want that GitHub cannot be understood, and one unseen", name, m, err)
		}
	}
}

func TestMintSaysWhatIsLacking(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]any)
		grant  func(*github) Grant
		want   string
	}{
		"nothing": {func(map[string]any) {}, (*github).grant, "[]"},
		"a repository by name": {
			func(o map[string]any) { o["repositories"] = []any{} }, (*github).grant, "[repository widgets]",
		},
		"a repository by id and name": {
			func(o map[string]any) { o["repositories"] = []any{} },
			func(g *github) Grant {
				return Grant{Installation: g.installation, Repositories: PinnedRepositories(Pin{g.widgets, "widgets"}), Permissions: contents("read")}
			}, "[repository %d]",
		},
		"a level": {
			func(o map[string]any) { o["permissions"].(map[string]any)["contents"] = "read" },
			func(g *github) Grant {
				return Grant{Installation: g.installation, Repositories: RepositoryNames("widgets"), Permissions: contents("write")}
			}, "[contents: write]",
		},
	} {
		g := changed(t, c.change)
		m, err := g.app.Mint(t.Context(), c.grant(g))
		want := c.want
		if strings.Contains(want, "%d") {
			want = fmt.Sprintf(want, g.widgets)
		}
		if err != nil || fmt.Sprint(m.Narrower) != want || m.All {
			t.Errorf("%s: Mint lacks %v, all = %v, %v, want %s", name, m.Narrower, m.All, err, want)
		}
	}
}

// Everything is what somebody asked for, and is said of the token.
func TestATokenOfEverythingSaysSo(t *testing.T) {
	g := changed(t, func(o map[string]any) { delete(o, "permissions") })
	m, err := g.app.Mint(t.Context(), Grant{Installation: g.installation, Repositories: AllRepositories(), Permissions: AllPermissions()})
	if err != nil || !m.All || m.Token.IsZero() {
		t.Errorf("Mint = %+v, %v, want a token of all", m, err)
	}
}

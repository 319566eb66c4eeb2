package mint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// changed returns an App whose GitHub's answers to a mint are changed.
func changed(t *testing.T, change func(map[string]any)) *github {
	t.Helper()
	g := newGitHub(t)
	g.app.Client = &http.Client{Transport: meddler{g.Transport(), change}}
	return g
}

// A token that cannot be used, and of which too little is known to revoke it, is
// counted.
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
		if !ok || e.Kind != Unavailable || e.Unconfirmed != 1 || m.Unconfirmed != 1 || !m.Token.IsZero() {
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

// A token for everything must be requested as such, and has All set.
func TestATokenOfEverythingSaysSo(t *testing.T) {
	g := changed(t, func(o map[string]any) { delete(o, "permissions") })
	m, err := g.app.Mint(t.Context(), Grant{Installation: g.installation, Repositories: AllRepositories(), Permissions: AllPermissions()})
	if err != nil || !m.All || m.Token.IsZero() {
		t.Errorf("Mint = %+v, %v, want a token of all", m, err)
	}
}

// silent is a network on which any request fails the test.
type silent struct{ t *testing.T }

func (s silent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.t.Errorf("GitHub was asked %s %s, want nothing", r.Method, r.URL)
	return nil, errors.New("nothing may be asked")
}

func installations(logins ...string) []Installation {
	var all []Installation
	for i, login := range logins {
		all = append(all, Installation{ID: int64(i + 1), Account: Account{Login: login}})
	}
	return all
}

// Exact names, and IDs, need no list of repositories, and no token to read it with.
func TestExactNamesMakeNoRequest(t *testing.T) {
	app := &App{Client: &http.Client{Transport: silent{t}}}
	many := make([]string, MaxRepositories+1)
	for i := range many {
		many[i] = fmt.Sprint("acme/r", i)
	}
	for _, c := range []struct {
		name     string
		patterns []string
		want     string // the repositories, or a part of the error
	}{
		{"two names", []string{"acme/widgets", "acme/Gadgets"}, "[widgets Gadgets] []"},
		{"a name twice", []string{"acme/widgets", "ACME/Widgets"}, "[widgets] []"},
		{"two ids", []string{"acme/widgets#7", "acme/gadgets#8"}, "[] [widgets#7 gadgets#8]"},
		{"500 names", many[:MaxRepositories], "[r0 r1 "},
		{"501 names", many, "501 repositories are more than the 500"},
		{"an id twice", []string{"acme/widgets#7", "acme/gadgets#7"}, "ID 7 is given twice"},
	} {
		grants, err := app.Resolve(t.Context(), parse(t, c.patterns...), contents("read"), installations("Acme"))
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(grants[0].Repositories.names, " ", grants[0].Repositories.pins)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: Resolve = %.200s, want %s", c.name, got, c.want)
		}
	}
}

func TestEverythingIsSaidOutLoud(t *testing.T) {
	app := &App{Client: &http.Client{Transport: silent{t}}}
	suspended := Installation{ID: 9, Account: Account{Login: "idle"}, SuspendedAt: time.Now()}
	const note = "* means every repository that the App can reach on "
	for _, c := range []struct {
		name      string
		installed []Installation
		want      string
	}{
		{"two accounts", installations("zeta", "Beta"), "Beta [" + note + "Beta]; zeta [" + note + "zeta]; "},
		{"one suspended", append(installations("Beta"), suspended), "Beta [" + note + "Beta left out because suspended: idle]; "},
		{"all suspended", []Installation{suspended}, "every installation of the App is suspended: idle"},
		{"none", nil, "not installed on any account"},
	} {
		grants, err := app.Resolve(t.Context(), parse(t, "*"), contents("read"), c.installed)
		got := fmt.Sprint(err)
		if err == nil {
			got = ""
			for _, g := range grants {
				got += fmt.Sprintf("%s %s; ", g.Owner, g.Notes)
			}
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: Resolve = %s, want %s", c.name, got, c.want)
		}
	}
}

// meddler changes the answer to a mint, as no GitHub should.
type meddler struct {
	http.RoundTripper
	change func(map[string]any)
}

func (m meddler) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	response, err := m.RoundTripper.RoundTrip(r)
	if err != nil || r.Method != http.MethodPost {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, err
	}
	m.change(object)
	body, err = json.Marshal(object)
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	return response, err
}

func TestAWiderGrantIsRevokedAndRefused(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another permission":    func(o map[string]any) { o["permissions"].(map[string]any)["issues"] = "write" },
		"a higher level":        func(o map[string]any) { o["permissions"].(map[string]any)["contents"] = "write" },
		"an unknown level":      func(o map[string]any) { o["permissions"].(map[string]any)["contents"] = "superadmin" },
		"all repositories":      func(o map[string]any) { o["repository_selection"] = "all" },
		"no selection at all":   func(o map[string]any) { delete(o, "repository_selection") },
		"no repositories named": func(o map[string]any) { delete(o, "repositories") },
		"no permissions named":  func(o map[string]any) { delete(o, "permissions") },
		"another repository": func(o map[string]any) {
			o["repositories"] = append(o["repositories"].([]any), map[string]any{"id": 99, "name": "secret", "full_name": "acme/secret"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			g.app.Client = &http.Client{Transport: meddler{g.Transport(), change}}
			m, err := g.app.Mint(t.Context(), g.grant())
			if !errors.Is(err, ErrWider) || !m.Token.IsZero() {
				t.Errorf("Mint = %v, %v, want %v", m, err, ErrWider)
			}
			if live := g.Tokens(); len(live) != 0 {
				t.Errorf("live tokens = %d, want 0: it must be revoked", len(live))
			}
		})
	}
}

// If a caller gives up while GitHub answers, no token is left behind.
func TestAWiderGrantIsRevokedForWhoHasGivenUp(t *testing.T) {
	g := newGitHub(t)
	ctx, giveUp := context.WithCancel(t.Context())
	g.app.Client = &http.Client{Transport: meddler{g.Transport(), func(o map[string]any) {
		o["repository_selection"] = "all"
		giveUp()
	}}}
	m, err := g.app.Mint(ctx, g.grant())
	if !errors.Is(err, ErrWider) || m.Unconfirmed != 0 || len(g.Tokens()) != 0 {
		t.Errorf("Mint = %v, %v with %d live tokens, want %v and none", m, err, len(g.Tokens()), ErrWider)
	}
}

// An unwanted token that cannot be revoked counts as unconfirmed.
func TestATokenThatIsNotTakenBackCounts(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"wider":   func(o map[string]any) { o["repository_selection"] = "all" },
		"renamed": func(o map[string]any) { o["repositories"].([]any)[0].(map[string]any)["name"] = "novelties" },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			g.app.Client = &http.Client{Transport: meddler{g.Transport(), change}}
			g.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), -1)
			grant := g.grant()
			grant.Repositories = PinnedRepositories(Pin{g.widgets, "widgets"})
			grant.Owner = "acme"
			m, err := g.app.Mint(t.Context(), grant)
			if err == nil || m.Unconfirmed != len(g.Tokens()) || m.Unconfirmed != 1 || strings.Contains(err.Error(), "\n") {
				t.Errorf("Mint = %v, %v with %d live tokens, want one line and one unseen", m, err, len(g.Tokens()))
			}
		})
	}
}

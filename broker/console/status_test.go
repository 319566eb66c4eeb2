package console

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// twoApps is a GitHub with the bench's App and another one.
type twoApps struct{ GitHub }

func (g twoApps) Apps() []App {
	return []App{{Name: "first", ClientID: "Iv23liFirst", GitHub: g.GitHub}, {Name: "b", GitHub: fullApp{}, Problem: errors.New("no key")}}
}

// fullApp is also installed on acme, and has 4321 requests left.
type fullApp struct{ GitHub }

func (fullApp) Installations(context.Context) iter.Seq2[mint.Installation, error] {
	return func(yield func(mint.Installation, error) bool) {
		for _, login := range []string{"Acme", "late"} {
			if !yield(mint.Installation{ID: 77, Account: mint.Account{Login: login}}, nil) {
				return
			}
		}
	}
}

func (fullApp) Rate() (mint.Rate, bool) { return mint.Rate{Limit: 5000, Remaining: 4321}, true }

func TestThePageShowsEachApp(t *testing.T) {
	b := newBench(t)
	b.console.App = twoApps{b.App}
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	page := tab.send("GET", "/", nil)
	wantText(t, "the page", page, 200, "first", "Iv23liFirst", "cannot be used", "4321 of 5000")
	if n := strings.Count(page.Body.String(), "Block everything of "); n != 4 { // acme, octo, late, and the App
		t.Errorf("the page revokes %d things, want each account once", n)
	}
	if got := b.console.installed.count("first"); got != 2 || b.console.installed.count("b") != 2 {
		t.Errorf("the Apps have %d and %d installations, want 2 each", got, b.console.installed.count("b"))
	}
	b.console.App = b.App
	if page := tab.send("GET", "/", nil).Body.String(); strings.Contains(page, `id="apps"`) || !slices.Equal(appsOf(b.App), []App{{GitHub: b.App}}) {
		t.Error("with one App the page has a table of Apps")
	}
}

// A workspace is told why it gets no token if the cause is not secret: a renamed
// organization, a permission, an IP allow list.
func TestWhatGitHubDoesNotGrantIsNamed(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*brokertest.GitHub) error
		want  string
	}{
		{"a renamed organization", func(g *brokertest.GitHub) error { return g.RenameAccount("acme", "newcorp") }, "it belongs to newcorp now"},
		{"a permission", func(g *brokertest.GitHub) error {
			return g.SetPermissions(g.Installations["acme"], fakegithub.Permissions{"contents": "read", "metadata": "read"})
		}, "lacks contents: write (granted: read); ask "},
		{"an IP allow list", func(g *brokertest.GitHub) error {
			g.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.NotOnIPAllowList("acme"), -1)
			return nil
		}, "IP allow list"},
	} {
		b := brokertest.NewBroker(brokertest.NewGitHub(t), nil)
		if err := c.spoil(b.GitHub); err != nil {
			t.Fatal(err)
		}
		if got := b.Token("ci", "acme/widgets", "write"); got.Code != 403 || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want 403 and %q", c.name, got.Code, got.Body, c.want)
		}
	}
}

package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/brokertest"
)

// A caller that repeats the same request all night is one row, and hides no other
// entry.
func TestRepeatsAreOneRow(t *testing.T) {
	b := newBench(t)
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	for range 12 {
		b.Token("sb-1", "octo/widgets", "read")
		b.Advance(time.Second)
	}
	b.Token("sb-1", "acme/widgets", "write")
	got := tab.send("GET", "/", nil)
	wantText(t, "the page", got, 200, "× 12 since ", `<p class="big">13</p><p>requests; and 0 pushes</p>`)
	if n := strings.Count(got.Body.String(), "does not allow octo/widgets"); n != 1 {
		t.Errorf("the page shows the repeated refusal %d times, want once", n)
	}
	b.Advance(2 * time.Hour)
	wantText(t, "the page later", tab.send("GET", "/", nil), 200, `<p class="big">0</p><p>requests; and 0 pushes</p>`)
}

func TestLongListsFold(t *testing.T) {
	var entries []broker.Entry
	for i := range unfolded + 3 {
		entries = append(entries, broker.Entry{Workspace: fmt.Sprintf("sb-%d", i)})
	}
	if l := fold(entries); len(l.Shown) != unfolded || len(l.Rest) != 3 || l.Times != unfolded+3 {
		t.Errorf("fold = %d and %d of %d, want %d and 3", len(l.Shown), len(l.Rest), l.Times, unfolded)
	}
	if l := fold(nil); len(l.Shown)+len(l.Rest) != 0 {
		t.Errorf("fold of nothing = %+v", l)
	}
}

// A row links to its audit entry, which only operators can open.
func TestARowLeadsToItsEntry(t *testing.T) {
	b := newBench(t)
	tab := b.tab()
	b.Token("sb-1", "octo/widgets", "read")
	id := b.console.Recorder.Refused()[0].RequestID
	wantText(t, "the entry to a stranger", tab.send("GET", entryPath+"?request="+id, nil), 401, "Sign in")
	tab.signIn(brokertest.OperatorToken)
	wantText(t, "the page", tab.send("GET", "/", nil), 200, `href="/console/entry?request=`+id+`"`)
	wantText(t, "the entry", tab.send("GET", entryPath+"?request="+id, nil), 200, `"request_id": "`+id+`"`, `"decision": "refused"`, "grep "+id)
	for _, other := range []string{"", "x", `"><script>`} {
		got := tab.send("GET", entryPath+"?request="+other, nil)
		wantText(t, "another entry", got, 404, "does not remember")
		if strings.Contains(got.Body.String(), "<script") {
			t.Error("the page has what the address says")
		}
	}
}

func TestRulesHaveNames(t *testing.T) {
	p := &broker.Policy{Rules: []broker.Rule{{Name: "ci", Method: "oidc"}, {Name: "callers[1]", Method: "oidc"}, {Name: "callers[2]"}}}
	for name, want := range map[string]string{"ci": "ci", "callers[1]": "rule 2 (oidc)", "callers[2]": "rule 3", "callers[9]": "rule 10", "": "", "callers[x]": "callers[x]"} {
		if got := ruleName(p, name); got != want {
			t.Errorf("ruleName(%q) = %q, want %q", name, got, want)
		}
	}
}

// A superseded token is shown apart; a token for other access is not.
func TestSupersededTokensAreApart(t *testing.T) {
	b := newBench(t)
	now := b.Now()
	token := func(hash, kind, repo string, minutes int) api.TokenState {
		return api.TokenState{Hash: hash, Kind: kind, Repositories: []string{repo}, ExpiresAt: now.Add(time.Duration(minutes) * time.Minute)}
	}
	v := webPages{b.console}.workspaceView(api.WorkspaceState{Tokens: []api.TokenState{
		token("old", api.Vended, "acme/a", 10), token("other", api.Vended, "acme/b", 20), token("delivered", api.Delivered, "acme/a", 30), token("new", api.Vended, "acme/a", 40),
	}})
	var current, superseded []string
	for _, one := range v.Tokens {
		current = append(current, one.Hash)
	}
	for _, one := range v.Superseded {
		superseded = append(superseded, one.Hash)
	}
	if fmt.Sprint(current) != "[other delivered new]" || fmt.Sprint(superseded) != "[old]" {
		t.Errorf("current %v, superseded %v", current, superseded)
	}
}

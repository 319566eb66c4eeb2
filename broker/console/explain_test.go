package console

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func (b *bench) explainSelf(caller, repo, operation string) api.Explanation {
	b.T.Helper()
	got := b.Do(caller, "GET", "/v1/explain?host=github.com&repo="+repo+"&operation="+operation, "")
	var e api.Explanation
	if err := json.Unmarshal(got.Body.Bytes(), &e); err != nil || got.Code != 200 {
		b.T.Fatalf("explain = %d %s", got.Code, got.Body)
	}
	return e
}

func TestExplainOneself(t *testing.T) {
	b := newBench(t)
	b.Repository("other", "x")
	if err := b.SetPermissions(b.Installations["octo"], map[string]string{"contents": "read", "metadata": "read"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, caller, repo, operation string
		granted                       bool
		reason, detail                string
	}{
		{"what is allowed", "ci", "Acme/widgets", "write", true, "", "a token for acme/widgets with contents: write"},
		{"another profile's", "sb-1", "octo/widgets", "read", false, "repository", "does not allow octo/widgets"},
		{"a write to clone only", "sb-1", "acme/widgets", "write", false, "permission", "does not allow contents: write"},
		{"what the installation lacks", "ci", "octo/widgets", "write", false, "github", "the installation on octo lacks contents: write"},
		{"what there is not", "ci", "acme/nothing", "read", false, "github", "acme/nothing does not exist"},
	} {
		e := b.explainSelf(c.caller, c.repo, c.operation)
		if e.Granted != c.granted || e.Reason != c.reason || !strings.Contains(e.Detail, c.detail) {
			t.Errorf("%s: %+v, want %v for %q with %q", c.name, e, c.granted, c.reason, c.detail)
		}
	}
	e := b.explainSelf("ci", "acme/widgets", "read")
	if e.Rule != "ci" || e.Workspace != "ci" || e.Profile != "ci" || e.Policy != b.Policy.Hash || !e.GitHub.Reaches || e.GitHub.Installation != b.Installations["acme"] || len(e.Untold) == 0 {
		t.Errorf("explain = %+v, want by which rule, and what GitHub says", e)
	}
	if n := b.Mints() + len(b.alive()); n != 0 {
		t.Errorf("%d tokens were asked for, want none", n)
	}
}

func TestExplainSaysWhatGitHubSays(t *testing.T) {
	b := newBench(t)
	if err := b.Suspend(b.Installations["acme"], true); err != nil {
		t.Fatal(err)
	}
	if e := b.explainSelf("ci", "acme/widgets", "read"); e.Granted || !e.GitHub.Suspended || !strings.Contains(e.Detail, "suspended") {
		t.Errorf("of a suspended installation: %+v", e)
	}
	if err := b.RemoveInstallation(b.Installations["octo"]); err != nil {
		t.Fatal(err)
	}
	if e := b.explainSelf("ci", "octo/widgets", "read"); e.Granted || e.GitHub.Reaches || e.Detail != "the App is not installed on octo" {
		t.Errorf("without an installation: %+v", e)
	}
	cancel := b.Fail(fakegithub.To("GET", "/installation"), fakegithub.Status(418), 10)
	defer cancel()
	if e := b.explainSelf("ci", "acme/widgets", "read"); e.Granted || e.GitHub != nil || e.Detail != "the broker could not ask GitHub" || len(e.Untold) == 0 {
		t.Errorf("without GitHub: %+v, want that it cannot be told", e)
	}
}

func TestExplainAnother(t *testing.T) {
	b := newBench(t)
	const ask = `"host":"github.com","repo":"acme/widgets","operation":"read"`
	explain := func(more string) api.Explanation {
		return operate[api.Explanation](b, "POST", api.ExplainPath, "{"+ask+","+more+"}", 200)
	}
	if e := explain(`"method":"test","claims":{"id":"sb-7"}`); !e.Granted || e.Workspace != "sb-7" || len(e.Rules) != 2 || e.Rules[0].Matches || !e.Rules[1].Matches {
		t.Errorf("sb-7 = %+v, want the second rule", e)
	}
	if e := explain(`"claims":{"id":"nobody"}`); e.Granted || e.Reason != broker.ReasonRule || len(e.Rules) != len(b.Policy.Rules) {
		t.Errorf("an unknown id = %+v, want that no rule matches", e)
	}
	if e := explain(`"method":"oidc","claims":{"id":"ci"}`); e.Granted || e.Rules[0].Note != "it is for test" {
		t.Errorf("ci by another method = %+v, want that the rules are for test", e)
	}
	if err := b.Blocklist.Block(t.Context(), "ci"); err != nil {
		t.Fatal(err)
	}
	if e := explain(`"claims":{"id":"ci"}`); e.Granted || e.Reason != broker.ReasonBlocked {
		t.Errorf("a blocked workspace = %+v", e)
	}
	if n := b.Mints(); n != 0 {
		t.Errorf("%d tokens were asked for, want none", n)
	}
}

// A workspace that asks too often is refused before GitHub is asked.
func TestExplainHasABudget(t *testing.T) {
	b := newBench(t)
	b.console.Budget = func(string) error {
		return &broker.Refusal{Status: 429, Reason: broker.ReasonLimit, Detail: "slowly"}
	}
	wantCode(t, "explain", b.Do("ci", "GET", "/v1/explain?host=github.com&repo=acme/widgets", ""), 429)
	if n := len(b.Requests()); n != 0 {
		t.Errorf("GitHub was asked %d times, want never", n)
	}
}

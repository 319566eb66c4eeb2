package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/brokertest"
)

// report reports a refused push of one ref as a caller.
func (b *bench) report(caller, host, repo, ref, reason string) {
	b.T.Helper()
	named, _ := api.ParseRepo(repo)
	body, err := api.EncodeRefusedPush(api.RefusedPush{Host: host, Repo: named, Updates: []api.RefusedUpdate{{Ref: ref, Action: "force", Reason: reason}}})
	if err != nil {
		b.T.Fatal(err)
	}
	wantCode(b.T, "a report of "+ref, b.Do(caller, http.MethodPost, api.RefusedPushesPath, string(body)), http.StatusNoContent)
}

func TestRefusedPushesOnThePage(t *testing.T) {
	b := newBench(t)
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	wantText(t, "the page without pushes", tab.send("GET", "/", nil), 200, "<h2 id=\"pushes\">Refused pushes</h2>", "None since this replica started.")
	b.report("sb-1", "github.com", "acme/widgets", "refs/heads/main", "this would force the ref to other history; rule main allows create, update")
	b.report("ci", "git.example:8443", "other/repo", "refs/heads/größe", "no rule allows it (force)")
	got := tab.send("GET", "/", nil)
	wantText(t, "the page", got, 200,
		"Reported by the workspace’s guard", "sb-1", "refs/heads/main", "this would force the ref to other history", `<span class="tag">force</span>`,
		"git.example:8443/other/repo", "refs/heads/größe")
	if body := got.Body.String(); strings.Index(body, "größe") > strings.Index(body, "refs/heads/main") {
		t.Error("the page shows the older push first")
	}
	if refused := b.console.Recorder.Refused(); len(refused) != 0 {
		t.Errorf("refused requests are %+v, want that pushes are not among them", refused)
	}
}

// Refs are shown as text, whatever they contain.
func TestRefusedPushesAreHarmless(t *testing.T) {
	b := newBench(t)
	b.report("ci", "github.com", "acme/widgets", `refs/heads/"><script>alert(1)</script>$(id)`, `<img src=x onerror=alert(1)>`)
	b.report("ci", "github.com", "acme/widgets", "refs/heads/\u202emain\u200b", "a\u2028b")
	const secret = "ghs_0123456789abcdefghijABCDEFGHIJ012345" // an older agent may not redact
	b.report("ci", "github.com", "acme/widgets", "refs/heads/"+secret, "the remote is https://x:"+secret+"@github.com")
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	got := tab.send("GET", "/", nil)
	wantText(t, "the page", got, 200, `refs/heads/"><script>alert(1)</script>$(id)`, `refs/heads/\u202emain\u200b`, `a\u2028b`)
	if body := got.Body.String(); strings.Contains(body, "<script") || strings.Contains(body, "<img") || strings.ContainsAny(body, "\u202e\u200b\u2028") || strings.Contains(body, secret) {
		t.Errorf("the page has what a ref says:\n%s", body)
	}
}

// A workspace that reports much hides neither others' reports nor the broker's own
// refusals.
func TestRefusedPushesAreBounded(t *testing.T) {
	r := &Recorder{Next: new(brokertest.MemoryJournal)}
	push := func(workspace string, i int) {
		e := broker.Entry{Kind: broker.KindReported, Decision: broker.Refused, Workspace: workspace, Time: time.Unix(int64(i), 0)}
		if err := r.Write(t.Context(), e, false); err != nil {
			t.Fatal(err)
		}
	}
	_ = r.Write(t.Context(), broker.Entry{Kind: broker.KindRequest, Decision: broker.Refused, Workspace: "quiet"}, false)
	push("quiet", 0)
	for i := range 10 * maxPushes {
		push("loud", i)
	}
	last := r.Pushes()
	if len(last) != maxOfOne+1 || last[maxOfOne].Workspace != "quiet" || !last[0].Time.Equal(time.Unix(10*maxPushes-1, 0)) {
		t.Errorf("Pushes has %d, want the last %d of the loud one and that of the quiet one", len(last), maxOfOne)
	}
	if refused := r.Refused(); len(refused) != 1 || refused[0].Workspace != "quiet" {
		t.Errorf("Refused = %+v, want the one request", refused)
	}
	for i := range 10 * maxPushes {
		push(fmt.Sprintf("sb-%d", i), i)
	}
	if last = r.Pushes(); len(last) != maxPushes || last[0].Workspace != "sb-1999" {
		t.Errorf("Pushes has %d, want the last %d", len(last), maxPushes)
	}
}

// The gateway's decisions are shown with their outcome, apart from workspaces' reports.
func TestGatewayPushesOnThePage(t *testing.T) {
	b := newBench(t)
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	intent := broker.Entry{Kind: broker.KindPush, Decision: broker.Granted, Workspace: "sb-1", Repository: "acme/widgets", Ref: "refs/heads/agent/x", Operation: "update", Time: time.Unix(1, 0)}
	done := intent
	done.Outcome = broker.OutcomeUnknown
	refused := broker.Entry{Kind: broker.KindPush, Decision: broker.Refused, Outcome: broker.OutcomeRefused, Workspace: "sb-2", Repository: "acme/widgets", Ref: "refs/heads/main", Operation: "force<", Detail: "no rule allows it", Time: time.Unix(2, 0)}
	for _, e := range []broker.Entry{intent, done, refused} {
		if err := b.console.Recorder.Write(t.Context(), e, false); err != nil {
			t.Fatal(err)
		}
	}
	got := tab.send("GET", "/", nil)
	wantText(t, "the page", got, 200, "Pushes through the gateway", "refs/heads/agent/x", `<span class="tag">unknown</span>`, "sb-2", "no rule allows it", "force&lt;")
	if n := strings.Count(got.Body.String(), "refs/heads/agent/x"); n != 1 {
		t.Errorf("the page shows the push %d times, want once, with its outcome", n)
	}
	if reported := b.console.Recorder.Pushes(); len(reported) != 0 {
		t.Errorf("reported pushes are %+v, want none", reported)
	}
}

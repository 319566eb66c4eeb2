package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
)

// report posts a refused push of n refs as a caller.
func (b *bench) report(caller, repo string, n int) *httptest.ResponseRecorder {
	named, _ := api.ParseRepo(repo)
	push := api.RefusedPush{Host: "github.com", Repo: named}
	for i := range n {
		push.Updates = append(push.Updates, api.RefusedUpdate{Ref: fmt.Sprintf("refs/heads/<%d>", i), Action: "force", Reason: "no rule allows it"})
	}
	body, err := api.EncodeRefusedPush(push)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.ask(caller, api.RefusedPushesPath, api.MediaType, string(body))
}

func TestARefusedPushIsWrittenDownAsItWasSaid(t *testing.T) {
	b := newBench(t)
	if got := b.report("ci", "Other/Repo", 2); got.Code != 204 || got.Body.Len() > 0 {
		t.Fatalf("the report = %d %s, want 204", got.Code, got.Body)
	}
	if len(b.journal.entries) != 2 || b.mints() != 0 {
		t.Fatalf("the journal has %+v and GitHub saw %d mints, want a line for each ref and none", b.journal.entries, b.mints())
	}
	e := b.journal.entries[1]
	if e.Kind != KindReported || e.Decision != Refused || e.Reason != "reported-by-workspace" || e.Workspace != "ci-7" || e.Rule != "ci" || e.Subject != "ci" || e.Policy != "h" {
		t.Errorf("the line is %+v, want who said it, and that it was said", e)
	}
	if e.Host != "github.com" || e.Repository != "other/repo" || e.Ref != "refs/heads/<1>" || e.Operation != "force" || e.Detail != "no rule allows it" || e.RequestID == "" {
		t.Errorf("the line is %+v, want what was said", e)
	}
}

// Exactly those callers may report who may ask for a token.
func TestWhoReportsRefusedPushes(t *testing.T) {
	b := newBench(t)
	for caller, want := range map[string]int{"": 401, "forged": 401, "../x": 403, "ci": 204, "x": 204} {
		if got := b.report(caller, "acme/widgets", 1); got.Code != want {
			t.Errorf("%q reports: %d %s, want %d", caller, got.Code, got.Body, want)
		}
	}
	for _, e := range b.journal.entries {
		if (e.Kind == KindReported) != (e.Workspace != "") || e.Decision != Refused {
			t.Errorf("the journal has %+v, want pushes of workspaces and refused requests", e)
		}
	}
	if err := b.blocks.Block(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if got := b.report("x", "acme/widgets", 1); got.Code != 204 {
		t.Errorf("a blocked workspace reports: %d %s, want it heard", got.Code, got.Body)
	}
	if got := b.token("x", "acme/widgets", "read"); got.Code != 403 {
		t.Errorf("a blocked workspace asks for a token: %d, want that the report changed nothing", got.Code)
	}
	for method, want := range map[string]int{http.MethodGet: 405, http.MethodPost: 415} {
		r := httptest.NewRequest(method, api.RefusedPushesPath, strings.NewReader("{}"))
		r.Header.Set("Test-Caller", "ci")
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != want || p.Status != want || w.Header().Get("Content-Type") != api.ProblemMediaType {
			t.Errorf("%s without a type = %d %s, want a problem document of %d", method, w.Code, w.Body, want)
		}
	}
}

// A report gives nothing, nor does a call of an unknown caller: neither uses up a
// proof.
func TestReportsUseUpNoProof(t *testing.T) {
	b := newBench(t)
	by := new(once)
	b.policy = &Policy{Hosts: []string{"github.com"}, Rules: []Rule{{By: by, Match: Exactly{"id": "ci"}, Workspace: "sb-1", Profile: b.profile("[acme/widgets]", "[clone]")}}}
	for _, c := range []struct {
		name string
		ask  func()
		want int
	}{
		{"a report", func() { b.report("ci", "acme/widgets", 1) }, 0},
		{"somebody whom no rule is for", func() { b.token("sb-2", "acme/widgets", "read") }, 0},
		{"a request", func() { b.token("ci", "acme/widgets", "read") }, 1},
	} {
		if c.ask(); by.spent != c.want {
			t.Errorf("after %s %d proofs are spent, want %d", c.name, by.spent, c.want)
		}
	}
}

// A proof that was used before gets its own answer, for workspaces and operators.
func TestASpentProof(t *testing.T) {
	b := newBench(t)
	by := &once{refusal: &Refusal{Status: http.StatusUnauthorized, Reason: ReasonReplay, Detail: "it was used before"}}
	p := &Policy{
		Rules:     []Rule{{By: by, Workspace: "sb-1", Profile: b.profile("[acme/widgets]", "[clone]")}},
		Operators: []OperatorRule{{Name: "night", By: by}},
	}
	r := httptest.NewRequest(http.MethodPost, "/v1/token", nil)
	r.Header.Set("Test-Caller", "ci")
	if w, err := p.Resolve(t.Context(), r); !errors.Is(err, by.refusal) || w.ID != "" {
		t.Errorf("Resolve = %+v, %v, want the refusal", w, err)
	}
	if o, err := p.Operator(t.Context(), r); !errors.Is(err, by.refusal) || o.Name != "" {
		t.Errorf("Operator = %+v, %v, want the refusal", o, err)
	}
}

// once identifies callers by single-use proofs.
type once struct {
	spent   int
	refusal error // of spending
}

func (o *once) Identify(ctx context.Context, r *http.Request) (Caller, error) {
	c, err := byHeader{}.Identify(ctx, r)
	c.MarkUsed = func(context.Context) error {
		o.spent++
		return o.refusal
	}
	return c, err
}

func TestReportsAreLimited(t *testing.T) {
	b := newBench(t)
	now := time.Unix(1e9, 0)
	told := map[string]int{}
	b.start(Config{Now: func() time.Time { return now }, Pushed: func(action string) { told[action]++ }})
	for i, want := range []int{204, 204, 429, 429} {
		got := b.report("sb-1", "acme/widgets", api.MaxPushUpdates)
		if got.Code != want || (want == 429) != (got.Header().Get("Retry-After") == "32") {
			t.Errorf("report %d: %d %v, want %d", i, got.Code, got.Header(), want)
		}
	}
	if got := b.report("sb-2", "acme/widgets", 1); got.Code != 204 {
		t.Errorf("another workspace reports: %d, want it heard", got.Code)
	}
	if n := len(b.journal.entries); n != 65 || told["force"] != 65 {
		t.Errorf("%d lines are written and %d refs counted, want 65: what is too much is not written down", n, told["force"])
	}
	now = now.Add(32 * time.Second)
	if got := b.report("sb-1", "acme/widgets", api.MaxPushUpdates); got.Code != 204 {
		t.Errorf("after what it was told to wait: %d", got.Code)
	}
}

func TestAReportThatCannotBeWrittenDown(t *testing.T) {
	b := newBench(t)
	b.journal.err = errors.New("no space")
	if got := b.report("ci", "acme/widgets", 1); got.Code != 503 || strings.Contains(got.Body.String(), "no space") {
		t.Errorf("the report = %d %s, want 503", got.Code, got.Body)
	}
}

// git's format is under the same rules, and no cache stores its answer.
func TestWhoGetsCredentialsInGitsFormat(t *testing.T) {
	b := newBench(t)
	const body = "protocol=https\nhost=github.com\npath=acme/widgets.git\n\n"
	for caller, want := range map[string]int{"": 401, "forged": 401, "../x": 403, "ci": 200} {
		got := b.ask(caller, CredentialsPath, "text/plain", body)
		if got.Code != want || strings.Contains(got.Body.String(), "password=") != (want == 200) {
			t.Errorf("caller %q: %d %s, want %d", caller, got.Code, got.Body, want)
		}
		if want == 200 {
			for name, value := range map[string]string{"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
				if got.Header().Get(name) != value {
					t.Errorf("%s: %q, want %q", name, got.Header().Get(name), value)
				}
			}
		}
	}
	r := httptest.NewRequest(http.MethodGet, CredentialsPath, nil)
	r.Header.Set("Test-Caller", "ci")
	w := httptest.NewRecorder()
	if b.handler.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
		t.Errorf("GET: %d with Allow %q, want 405 and POST", w.Code, w.Header().Get("Allow"))
	}
}

package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/api"
)

// report posts a refused push of n refs as a caller.
func (b *bench) report(caller, repo string, n int) *httptest.ResponseRecorder {
	push := api.RefusedPush{Host: "github.com", Repo: repo}
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
	if e.Kind != KindPush || e.Decision != Refused || e.Reason != "reported-by-workspace" || e.Workspace != "ci-7" || e.Rule != "ci" || e.Subject != "ci" || e.Policy != "h" {
		t.Errorf("the line is %+v, want who said it, and that it was said", e)
	}
	if e.Host != "github.com" || e.Repository != "other/repo" || e.Ref != "refs/heads/<1>" || e.Operation != "force" || e.Detail != "no rule allows it" || e.RequestID == "" {
		t.Errorf("the line is %+v, want what was said", e)
	}
}

// Who may say something is who may ask for a token, and nobody else.
func TestWhoReportsRefusedPushes(t *testing.T) {
	b := newBench(t)
	for caller, want := range map[string]int{"": 401, "forged": 401, "../x": 403, "ci": 204, "x": 204} {
		if got := b.report(caller, "acme/widgets", 1); got.Code != want {
			t.Errorf("%q reports: %d %s, want %d", caller, got.Code, got.Body, want)
		}
	}
	for _, e := range b.journal.entries {
		if (e.Kind == KindPush) != (e.Workspace != "") || e.Decision != Refused {
			t.Errorf("the journal has %+v, want pushes of workspaces and refused requests", e)
		}
	}
	if err := b.bars.Bar(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if got := b.report("x", "acme/widgets", 1); got.Code != 204 {
		t.Errorf("a barred workspace reports: %d %s, want it heard", got.Code, got.Body)
	}
	if got := b.token("x", "acme/widgets", "read"); got.Code != 403 {
		t.Errorf("a barred workspace asks for a token: %d, want that the report changed nothing", got.Code)
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

// Identifiers are told that nothing is given, so that nothing is used up.
func TestReportsUseUpNoProof(t *testing.T) {
	b := newBench(t)
	by := new(asked)
	b.policy = &Policy{Hosts: []string{"github.com"}, Rules: []Rule{{By: by, Workspace: "sb-1", Profile: b.profile("[acme/widgets]", "[clone]")}}}
	b.report("ci", "acme/widgets", 1)
	b.token("ci", "acme/widgets", "read")
	if want := []bool{true, false}; !slices.Equal(by.forNothing, want) {
		t.Errorf("GivesNothing = %v for a report and a request, want %v", by.forNothing, want)
	}
}

// asked notes what the calls give that it identifies the callers of.
type asked struct{ forNothing []bool }

func (a *asked) Identify(ctx context.Context, r *http.Request) (Caller, error) {
	a.forNothing = append(a.forNothing, GivesNothing(ctx))
	return byHeader{}.Identify(ctx, r)
}

func TestReportsAreLimited(t *testing.T) {
	b := newBench(t)
	now := time.Unix(1e9, 0)
	told := map[string]int{}
	server := &Server{
		Policy: func() *Policy { return b.policy }, Journal: b.journal, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Pushes: &Limiter{Limits: PushLimits, Now: func() time.Time { return now }}, Pushed: func(action string) { told[action]++ },
	}
	b.handler = server.Handler()
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

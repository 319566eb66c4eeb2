package brokerclient

import (
	"context"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/credentialtest"
)

var refusedPush = api.RefusedPush{Host: "github.com", Repo: api.Repo{Owner: "acme", Name: "widgets"}, Updates: []api.RefusedUpdate{{Ref: "refs/heads/<main>", Action: "force", Reason: "no rule allows it"}}}

func TestReportPush(t *testing.T) {
	b := &credentialtest.Broker{Identities: map[string]string{bearer: "sb-1"}}
	s, _ := serve(t, under(b))
	if err := s.ReportPush(t.Context(), refusedPush); err != nil {
		t.Fatalf("ReportPush = %v", err)
	}
	if got := b.Pushes(); len(got) != 1 || !reflect.DeepEqual(got[0], refusedPush) || len(b.Invalid()) > 0 || b.Calls() != 0 {
		t.Errorf("the broker heard %+v, %q, want the one push", got, b.Invalid())
	}
	if err := s.ReportPush(t.Context(), api.RefusedPush{}); err == nil || len(b.Pushes()) != 1 {
		t.Errorf("ReportPush of nothing = %v, want an error and no call", err)
	}
	b.Identities = map[string]string{}
	if err := s.ReportPush(t.Context(), refusedPush); err == nil || strings.Contains(err.Error(), bearer) {
		t.Errorf("ReportPush by a stranger = %v, want one line without the identity", err)
	}
}

// A broker that is older than the call, or does not work, is asked once.
func TestReportPushIsTriedOnce(t *testing.T) {
	for _, status := range []int{200, 404, 429, 503} {
		var calls atomic.Int64
		s, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			_ = api.WriteProblem(w, api.NewProblem(status, "no"))
		}))
		if err := s.ReportPush(t.Context(), refusedPush); err == nil || calls.Load() != 1 {
			t.Errorf("ReportPush with %d = %v after %d calls, want an error after one", status, err, calls.Load())
		}
	}
	s, _ := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server notices only afterwards that a client has gone
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := s.ReportPush(ctx, refusedPush); err == nil || time.Since(begun) > 30*time.Second {
		t.Errorf("ReportPush to one that hangs = %v after %v, want it over soon", err, time.Since(begun))
	}
}

// A report uses no join token and renews no session.
func TestReportPushSpendsNothing(t *testing.T) {
	g := &gate{}
	_, s, _, file := joinSource(t, g)
	if err := s.ReportPush(t.Context(), refusedPush); err == nil || len(g.calls()) != 0 {
		t.Errorf("ReportPush without a session = %v after %q, want an error and no exchange", err, g.calls())
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the join token: %v, want it there", err)
	}
	if _, err := s.Token(t.Context(), credential.Request{Protocol: "https", Host: "github.com", Path: "acme/widgets", Operation: "read"}); err != nil {
		t.Fatal(err)
	}
	if err := s.ReportPush(t.Context(), refusedPush); err != nil || len(g.calls()) != 1 || len(g.broker.Pushes()) != 1 {
		t.Errorf("ReportPush with a session = %v after %q, want it heard with the session as it is", err, g.calls())
	}
}

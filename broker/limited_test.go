package broker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
)

// limiter is one at a moment.
func limiter(limits Limits, now *time.Time) (*Limiter, Vendor) {
	l := &Limiter{Limits: func() Limits { return limits }, Now: func() time.Time { return *now }}
	return l, limited(l, func(context.Context, Workspace, api.TokenRequest) (Grant, error) { return Grant{}, nil })
}

func TestLimitedByRate(t *testing.T) {
	now := time.Unix(1e9, 0)
	_, vend := limiter(Limits{Rate: 0.5, Burst: 3}, &now)
	ask := func(id string) *Refusal {
		_, err := vend(t.Context(), Workspace{ID: id}, api.TokenRequest{})
		r, _ := errors.AsType[*Refusal](err)
		return r
	}
	for range 3 {
		if r := ask("sb-1"); r != nil {
			t.Fatalf("within the burst: %v", r)
		}
	}
	if r := ask("sb-1"); r == nil || r.Status != 429 || r.Reason != ReasonLimit || r.RetryAfter != 2*time.Second {
		t.Errorf("beyond the burst: %+v, want 429 in two seconds", r)
	}
	if r := ask("sb-2"); r != nil {
		t.Errorf("another workspace: %v", r)
	}
	now = now.Add(2 * time.Second)
	if r := ask("sb-1"); r != nil {
		t.Errorf("after what it was told to wait: %v", r)
	}
	if r := ask("sb-1"); r == nil {
		t.Error("it may ask twice")
	}
}

func TestLimitedByRequestsAtOnce(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := &Limiter{Limits: func() Limits { return Limits{Requests: 2} }, Now: func() time.Time { return now }}
	entered, leave := make(chan struct{}), make(chan struct{})
	vend := limited(l, func(context.Context, Workspace, api.TokenRequest) (Grant, error) {
		entered <- struct{}{}
		<-leave
		return Grant{}, nil
	})
	done := make(chan error)
	for range 2 {
		go func() {
			_, err := vend(t.Context(), Workspace{ID: "sb-1"}, api.TokenRequest{})
			done <- err
		}()
		<-entered
	}
	if _, err := vend(t.Context(), Workspace{ID: "sb-1"}, api.TokenRequest{}); err == nil {
		t.Error("a third request runs")
	}
	close(leave)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	now = now.Add(time.Hour)
	if err := l.enter("sb-2"); err != nil || len(l.buckets) != 1 {
		t.Errorf("an hour later %d workspaces are remembered, %v, want the one that asks", len(l.buckets), err)
	}
}

func TestGated(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	refused := 0
	h := Gated(func() int { return 1 }, func() { refused++ }, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	}))
	done := make(chan struct{})
	serve := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/token", nil))
		return w
	}
	go func() { serve(); close(done) }()
	<-entered
	if w := serve(); w.Code != 429 || w.Header().Get("Retry-After") == "" || refused != 1 {
		t.Errorf("a second request: %d %v, want 429", w.Code, w.Header())
	}
	close(leave)
	<-done
	go func() { <-entered }()
	if w := serve(); w.Code != 200 {
		t.Errorf("after the first: %d", w.Code)
	}
}

// A request that takes long is not forgotten, and ends.
func TestLimitsOutlastASweep(t *testing.T) {
	now := time.Now()
	l := &Limiter{Limits: func() Limits { return Limits{Requests: 1} }, Now: func() time.Time { return now }}
	if err := l.enter("sb-1"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * sweepEvery)
	if err := l.Count("sb-2"); err != nil {
		t.Errorf("Count(sb-2) = %v, want nil", err)
	}
	if err := l.Count("sb-1"); err == nil {
		t.Error("Count(sb-1) = nil while its one request runs, want a refusal")
	}
	l.leave("sb-1")
	for range 2 {
		if err := l.Count("sb-1"); err != nil {
			t.Errorf("Count(sb-1) = %v, want nil: what is counted is over at once", err)
		}
	}
	now = now.Add(2 * sweepEvery)
	if err := l.Count("sb-3"); err != nil || len(l.buckets) != 1 {
		t.Errorf("Count = %v and %d workspaces are remembered, want the one that asks", err, len(l.buckets))
	}
}

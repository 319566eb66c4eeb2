package broker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
)

// limiter returns a Limiter at a time that the test sets.
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

// A long request is not forgotten by a sweep, and can end.
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

// A clock that is set back takes nothing from a workspace.
func TestALimiterWhoseClockIsSetBack(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := &Limiter{Limits: func() Limits { return Limits{Rate: 1, Burst: 3} }, Now: func() time.Time { return now }}
	if err := l.Count("sb-1"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	if err := l.Count("sb-1"); err != nil {
		t.Errorf("Count = %v after the clock was set back, want one more let through", err)
	}
}

// A timed is a response whose connection has deadlines.
type timed struct {
	http.ResponseWriter
	read, write time.Time
}

func (t *timed) SetReadDeadline(d time.Time) error  { t.read = d; return nil }
func (t *timed) SetWriteDeadline(d time.Time) error { t.write = d; return nil }

// net/http still holds the end of an answer when its handler returns: a client that
// does not read it may hold the stream only for a limited time.
func TestDeadlinesAfterBodies(t *testing.T) {
	w := &timed{ResponseWriter: httptest.NewRecorder()}
	var b BodyLimiter
	nothing := func() error { return nil }
	if err := b.Write(w, "192.0.2.1", 10, nothing); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(w.write); left <= 0 || left > bodyTime {
		t.Errorf("after an answer its end has %v, want up to %v", left, bodyTime)
	}
	if err := b.Read(w, "192.0.2.1", 10, nothing); err != nil || !w.read.IsZero() {
		t.Errorf("after a body the connection is read until %v, %v, want no end of that", w.read, err)
	}
	if err := b.Read(w, "192.0.2.1", 10, func() error { return errors.New("broken") }); err == nil || w.read.IsZero() {
		t.Errorf("after a body that broke off: %v, read until %v, want the error and its deadline", err, w.read)
	}
}

// Callers without access cannot fill the log either.
func TestStrangersAreWrittenDownAFewTimes(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBench(t)
	j := b.journal
	s := b.start(Config{UnauthLimits: func() Limits { return Limits{Rate: 1, Burst: 3} }, Now: func() time.Time { return now }})
	h := s.Handler()
	ask := func(from string) int {
		r := httptest.NewRequest(http.MethodPost, "/v1/token", strings.NewReader("{}"))
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for i := range 10 {
		want := http.StatusUnauthorized
		if i >= 3 {
			want = http.StatusTooManyRequests
		}
		if got := ask("192.0.2.1:1234"); got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	if n := len(j.entries); n != 3 {
		t.Errorf("%d lines are written, want 3", n)
	}
	if err := s.UnauthExceeded(&http.Request{RemoteAddr: "192.0.2.1:5"}); err == nil {
		t.Error("its address had not too many")
	}
	for range 10 {
		if err := s.UnauthExceeded(&http.Request{RemoteAddr: "192.0.2.2:5"}); err != nil {
			t.Errorf("another address had too many: %v", err)
		}
	}
	if got := ask("192.0.2.2:1"); got != http.StatusUnauthorized {
		t.Errorf("another address: %d", got)
	}
	now = now.Add(2 * time.Second)
	if got := ask("192.0.2.1:99"); got != http.StatusUnauthorized {
		t.Errorf("later: %d", got)
	}
}

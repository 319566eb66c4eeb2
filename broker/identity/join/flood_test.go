package join

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/api"
	"github.com/gatepass/gatepass/store/storetest"
)

// Neither strangers nor a workspace fill the journal by exchanging all the time.
func TestExchangesAreBounded(t *testing.T) {
	m, now := &storetest.Memory{}, time.Now()
	r := newReplica(t, m, func() time.Time { return now })
	used := issue(t, m, "sb-1", "agents", now)
	session := r.session(used).Session.Reveal()
	limits := func() broker.Limits { return broker.Limits{Rate: 0.001, Burst: 3} }
	strangers := &broker.Limiter{Limits: limits}
	r.desk.Strangers = func(*http.Request) error { return strangers.Count("everybody") }
	r.desk.Workspaces = &broker.Limiter{Limits: limits}
	for _, c := range []struct {
		name  string
		post  func() *httptest.ResponseRecorder
		lines int // at most
	}{
		{"a session renewed", func() *httptest.ResponseRecorder { return r.post(session, "{}") }, 6},
		{"no identity", func() *httptest.ResponseRecorder { return r.post("", "{}") }, 6},
		{"a used token", func() *httptest.ResponseRecorder { return r.redeem(used) }, 6},
	} {
		before, last := len(r.journal.entries), 0
		for range 20 {
			last = c.post().Code
		}
		if lines := len(r.journal.entries) - before; last != 429 || lines > c.lines {
			t.Errorf("%s: %d in the end, and %d lines, want 429 and at most %d", c.name, last, lines, c.lines)
		}
	}
}

// Bodies that come slowly do not take the place of everybody else.
func TestFewBodiesAreReadAtOnce(t *testing.T) {
	r := newReplica(t, &storetest.Memory{}, time.Now)
	var wait sync.WaitGroup
	defer wait.Wait()
	slow, end := io.Pipe()
	defer end.CloseWithError(errors.New("enough"))
	answers := make(chan int, 100)
	for range cap(answers) {
		wait.Go(func() {
			request := httptest.NewRequest(http.MethodPost, api.ExchangePath, slow)
			request.Header.Set("Content-Type", api.MediaType)
			w := httptest.NewRecorder()
			r.handler.ServeHTTP(w, request)
			answers <- w.Code
		})
	}
	select {
	case code := <-answers:
		if code != http.StatusServiceUnavailable {
			t.Errorf("one of too many is answered %d, want 503", code)
		}
	case <-time.After(time.Minute):
		t.Error("all of them are read")
	}
}

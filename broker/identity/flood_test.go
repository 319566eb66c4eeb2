package identity

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// Neither strangers nor a workspace fill the journal by exchanging all the time.
func TestExchangesAreBounded(t *testing.T) {
	m, now := &storetest.Memory{}, time.Now()
	r := newReplica(t, m, func() time.Time { return now })
	used := issue(t, m, "sb-1", "agents", now)
	session := r.session(used).Session.Reveal()
	limits := func() broker.Limits { return broker.Limits{Rate: 0.001, Burst: 3} }
	strangers := &broker.Limiter{Limits: limits}
	r.desk.ChargeUnauth = func(*http.Request) error { return strangers.Count("everybody") }
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

// The store is not asked for an address that guesses.
func TestGuessesDoNotReachTheStore(t *testing.T) {
	s := &counting{Memory: new(storetest.Memory)}
	r := newReplica(t, s, time.Now)
	over := errors.New("too many")
	r.desk.UnauthExceeded = func(*http.Request) error { return over }
	good := issue(t, s, "sb-1", "agents", time.Now())
	before := s.gets.Load()
	for range 10 {
		if got := r.redeem(NewJoinToken()); got.Code == http.StatusOK {
			t.Errorf("a guess: %d", got.Code)
		}
	}
	r.redeem(good)
	if n := s.gets.Load() - before; n != 0 {
		t.Errorf("the store was asked %d times, want never", n)
	}
	over = nil
	r.session(good) // it was not spent
}

// counting counts what is read of it.
type counting struct {
	*storetest.Memory
	gets atomic.Int64
}

func (c *counting) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	if _, ok := name.JoinToken(); ok {
		c.gets.Add(1)
	}
	return c.Memory.Get(ctx, name)
}

// Bodies that come slowly do not take the place of everybody else.
func TestSlowBodiesAreNotInTheWay(t *testing.T) {
	m := &storetest.Memory{}
	r := newReplica(t, m, time.Now)
	come := make(chan struct{}, 200)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		come <- struct{}{}
		r.handler.ServeHTTP(w, request)
	}))
	defer server.Close()
	defer server.CloseClientConnections()
	slow, end := io.Pipe()
	defer end.CloseWithError(errors.New("enough"))
	for range 100 {
		go func() {
			if answer, err := server.Client().Post(server.URL+api.ExchangePath, api.MediaType, slow); err == nil {
				answer.Body.Close()
			}
		}()
	}
	for range 100 {
		<-come
	}
	begun := time.Now()
	body := `{"join_token":"` + issue(t, m, "sb-1", "agents", time.Now()).Reveal() + `"}`
	answer, err := server.Client().Post(server.URL+api.ExchangePath, api.MediaType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if took := time.Since(begun); answer.StatusCode != http.StatusOK || took > 4*time.Second { // a slow body has five
		t.Errorf("an exchange meanwhile is answered %d after %v, want 200 before the slow are over", answer.StatusCode, took)
	}
}

package identity

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// unread is a block list that cannot be read.
type unread struct{}

func (unread) BlockedFor(context.Context, string, string) (bool, error) { return false, errLost }
func (unread) Blocked(context.Context, string) (bool, error)            { return false, errLost }

// anybody identifies every caller, like the identity of a machine that several
// workspaces share.
type anybody struct{}

func (anybody) Identify(context.Context, *http.Request) (broker.Caller, error) {
	return broker.Caller{Method: "socket", Subject: "uid 0"}, nil
}

// A failure is refused with its reason, gives nothing, and uses up no token.
func TestTroubleSpendsNoToken(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(*replica)
		status int
		want   string
	}{
		{"blocks that cannot be read", func(r *replica) { r.desk.Blocker = unread{} }, 503, "store is unavailable"},
		{"no session keys", func(r *replica) { r.desk.Sessions = &SessionIdentifier{Keys: &Keyset{}, Now: r.sessions.Now} }, 503, "cannot read its session keys"},
		{"a journal that is full", func(r *replica) { r.journal.full = func(broker.Entry) bool { return true } }, 503, "audit log cannot be written"},
		{"a caller of another rule", func(r *replica) {
			r.policy.Rules = slices.Insert(r.policy.Rules, 0, broker.Rule{Name: "machines", By: anybody{}, Match: broker.Exactly{}, Workspace: "other"})
		}, 401, "another rule of the broker matches this caller; only a session can be exchanged for a session"},
	} {
		m, clock := &storetest.Memory{}, time.Now()
		r := newReplica(t, m, func() time.Time { return clock })
		token := issue(t, m, "sb-1", "agents", clock)
		session := r.session(issue(t, m, "sb-1", "agents", clock)).Session.Reveal()
		rules := slices.Clone(r.policy.Rules)
		c.spoil(r)
		if got := r.redeem(token); got.Code != c.status || !strings.Contains(got.Body.String(), c.want) || strings.Contains(got.Body.String(), SessionPrefix) {
			t.Errorf("%s: a token gets %d %s, want %d with %q", c.name, got.Code, got.Body, c.status, c.want)
		}
		if got := r.post(session, `{}`); got.Code != c.status || strings.Contains(got.Body.String(), SessionPrefix) {
			t.Errorf("%s: a session gets %d %s, want %d", c.name, got.Code, got.Body, c.status)
		}
		r.policy.Rules, r.desk.Blocker, r.desk.Sessions, r.journal.full = rules, r.blocks, r.sessions, nil
		if got := r.redeem(token); got.Code != 200 {
			t.Errorf("%s, afterwards: a token gets %d %s, want a session", c.name, got.Code, got.Body)
		}
	}
}

// While the store is down, no session counts as forged.
func TestASessionThatCannotBeLookedAt(t *testing.T) {
	m := &storetest.Memory{}
	r := newReplica(t, m, time.Now)
	session := r.session(issue(t, m, "sb-1", "agents", time.Now())).Session.Reveal()
	r.sessions.Keys = &Keyset{}
	_, err := r.identify(session)
	if refusal, ok := errors.AsType[*broker.Refusal](err); !ok || refusal.Status != http.StatusServiceUnavailable || refusal.RetryAfter == 0 {
		t.Errorf("Resolve = %v, want 503 and when to come back", err)
	}
}

// A malformed record of a token gives nothing.
func TestARecordThatIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":         "x",
		"no workspace":    `{"rule":"agents","expires_at":"2100-01-01T00:00:00Z"}`,
		"one that climbs": `{"workspace":"../sb-1","rule":"agents","expires_at":"2100-01-01T00:00:00Z"}`,
		"no rule":         `{"workspace":"sb-1","expires_at":"2100-01-01T00:00:00Z"}`,
		"no end":          `{"workspace":"sb-1","rule":"agents"}`,
	} {
		m := &storetest.Memory{}
		r, token := newReplica(t, m, time.Now), NewJoinToken()
		if err := m.Put(t.Context(), store.JoinToken(token.Hash()), store.NewSecret(text), store.CreateOnly); err != nil {
			t.Fatal(err)
		}
		got := r.redeem(token)
		want := http.StatusServiceUnavailable
		if name == "no end" {
			want = http.StatusUnauthorized
		}
		if got.Code != want {
			t.Errorf("%s: %d %s, want %d", name, got.Code, got.Body, want)
		}
	}
}

func TestATokenThatIsNotKeptIsNotIssued(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if token, err := IssueJoinToken(ctx, &storetest.Memory{}, time.Now(), "sb-1", "agents", time.Minute); err == nil || token.Reveal() != "" {
		t.Errorf("Issue = %v, %v, want an error", token, err)
	}
}

// Only refused requests count against an address without identity.
func TestOnlyRefusalsCountAsStrangers(t *testing.T) {
	m := &storetest.Memory{}
	r := newReplica(t, m, time.Now)
	r.desk.ChargeUnauth = func(*http.Request) error { return refused(http.StatusTooManyRequests, broker.ReasonLimit, "too many") }
	session := r.session(issue(t, m, "sb-1", "agents", time.Now())).Session.Reveal()
	r.answer(r.post(session, `{}`))
	if got := r.post("", `{}`); got.Code != http.StatusTooManyRequests {
		t.Errorf("a stranger gets %d %s, want 429", got.Code, got.Body)
	}
}

// The journal says for every outcome when, whose token, and from where. Entries about
// sessions given and about reuse are on disk before the answer.
func TestWhatTheJournalSays(t *testing.T) {
	m, clock := &storetest.Memory{}, time.Now()
	r := newReplica(t, m, func() time.Time { return clock })
	token := issue(t, m, "sb-1", "agents", clock)
	gone := issue(t, m, "sb-1", "another rule", clock)
	session := r.session(token).Session.Reveal()
	for _, c := range []struct {
		name      string
		ask       func()
		decision  string
		reason    string
		workspace string
		rule      string
		subject   string
		joined    bool // names the join token
		durable   bool
	}{
		{"a renewal", func() { r.post(session, `{}`) }, broker.Granted, "", "sb-1", "agents", "session of sb-1", true, true},
		{"a replay", func() { r.redeem(token) }, broker.Refused, broker.ReasonReplay, "sb-1", "agents", "session of sb-1", true, true},
		{"a rule that is gone", func() { r.redeem(gone) }, broker.Refused, broker.ReasonIdentity, "sb-1", "another rule", "join token ", true, false},
		{"an unknown token", func() { r.redeem(NewJoinToken()) }, broker.Refused, broker.ReasonIdentity, "", "", "join token ", true, false},
		{"nothing", func() { r.post("", `{}`) }, broker.Refused, broker.ReasonIdentity, "", "", "", false, false},
	} {
		c.ask()
		e := r.journal.last()
		if e.Decision != c.decision || e.Workspace != c.workspace || e.Rule != c.rule || !strings.HasPrefix(e.Subject, c.subject) || (len(e.Claims["join"]) == 16) != c.joined {
			t.Errorf("%s: the journal has %+v", c.name, e)
		}
		if c.reason == broker.ReasonReplay && e.Reason != c.reason || !e.Time.Equal(clock) || e.RequestID == "" || e.Remote == "" {
			t.Errorf("%s: the journal has %+v, want the time, the request and from where", c.name, e)
		}
		if got := r.journal.durable[len(r.journal.durable)-1]; got != c.durable {
			t.Errorf("%s: written through to the disk = %v, want %v", c.name, got, c.durable)
		}
	}
	if !r.journal.durable[0] {
		t.Error("the intent to give a session is not written through to the disk")
	}
}

// mute is a store that refuses writes without a reason.
type mute struct{ store.Store }

func (mute) Put(context.Context, store.Name, store.Secret, store.Mode) error { return errLost }

// If it is unknown whether a token was used, there is no alarm and no session.
func TestAStoreThatCannotSayWhoWasFirst(t *testing.T) {
	m := &storetest.Memory{}
	r := newReplica(t, m, time.Now)
	token := issue(t, m, "sb-1", "agents", time.Now())
	r.session(issue(t, m, "sb-1", "agents", time.Now())) // creates a key to sign with
	r.desk.Store = mute{m}
	got := r.redeem(token)
	if e := r.journal.last(); got.Code != http.StatusServiceUnavailable || !strings.Contains(got.Body.String(), "may be used up") || e.Reason != broker.ReasonStore {
		t.Errorf("redeem = %d %s with %+v, want 503 and no replay", got.Code, got.Body, e)
	}
}

// Neither callers without identity nor a workspace can fill the journal with exchanges.
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
	r.session(good) // it was not used up
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

// Slow bodies do not block other callers.
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
	if took := time.Since(begun); answer.StatusCode != http.StatusOK || took > 4*time.Second { // a slow body may take five seconds
		t.Errorf("an exchange meanwhile is answered %d after %v, want 200 before the slow are over", answer.StatusCode, took)
	}
}

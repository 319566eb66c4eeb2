package identity

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// paper is a journal in memory, which can fail.
type paper struct {
	mu      sync.Mutex // guards the rest
	entries []broker.Entry
	durable []bool // of each
	full    func(broker.Entry) bool
}

func (p *paper) Write(_ context.Context, e broker.Entry, durable bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full != nil && p.full(e) {
		return errors.New("no space")
	}
	p.entries, p.durable = append(p.entries, e), append(p.durable, durable)
	return nil
}

func (p *paper) last() broker.Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.entries[len(p.entries)-1]
}

// A replica is one broker of a store, with a rule "agents" for sessions.
type replica struct {
	t        *testing.T
	sessions *SessionIdentifier
	policy   *broker.Policy
	blocks   *blocklist.List
	journal  *paper
	handler  http.Handler
	desk     *Exchanger
}

func newReplica(t *testing.T, s store.Store, now func() time.Time) *replica {
	r := &replica{
		t: t, sessions: &SessionIdentifier{Keys: &Keyset{Store: s, Now: now}, Now: now},
		blocks: &blocklist.List{Store: s, Every: time.Nanosecond}, journal: new(paper),
	}
	r.policy = &broker.Policy{Hash: "h", Rules: []broker.Rule{{Name: "agents", By: r.sessions, Match: JoinSettings{}.Match("agents"), Workspace: "{claim.workspace}"}}}
	desk := &Exchanger{Sessions: r.sessions, Store: s, Policy: func() *broker.Policy { return r.policy }, Blocker: r.blocks, Journal: r.journal}
	server := broker.New(broker.Config{
		Policy: func() *broker.Policy { return r.policy }, Journal: r.journal, Store: s, GitHub: new(mint.App), Log: slog.New(slog.DiscardHandler),
		Extra: map[string]broker.Endpoint{api.ExchangePath: desk.Endpoint()},
	})
	r.handler, r.desk = server.Handler(), desk
	return r
}

func (r *replica) post(bearer, body string) *httptest.ResponseRecorder {
	return r.send(bearer, body, "")
}

func (r *replica) send(bearer, body, key string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, api.ExchangePath, strings.NewReader(body))
	request.Header.Set("Content-Type", api.MediaType)
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	if key != "" {
		request.Header.Set(api.AttemptHeader, key)
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, request)
	return w
}

// attempt renews a session with an attempt key.
func (r *replica) attempt(key, session string) *httptest.ResponseRecorder {
	return r.send(session, `{}`, key)
}

func (r *replica) redeem(t JoinToken) *httptest.ResponseRecorder {
	return r.post("", `{"join_token":"`+t.Reveal()+`"}`)
}

// session exchanges a token for a session.
func (r *replica) session(t JoinToken) api.SessionAnswer {
	r.t.Helper()
	return r.answer(r.redeem(t))
}

func (r *replica) answer(got *httptest.ResponseRecorder) api.SessionAnswer {
	r.t.Helper()
	a, err := api.DecodeSession(got.Body.Bytes())
	if err != nil || got.Code != 200 {
		r.t.Fatalf("exchange = %d %s, want a session", got.Code, got.Body)
	}
	return a
}

func (r *replica) identify(bearer string) (broker.Workspace, error) {
	request := httptest.NewRequest(http.MethodPost, api.TokenPath, nil)
	request.Header.Set("Authorization", "Bearer "+bearer)
	return r.policy.Resolve(r.t.Context(), request)
}

func issue(t *testing.T, s store.Store, workspace, rule string, now time.Time) JoinToken {
	t.Helper()
	token, err := IssueJoinToken(t.Context(), s, now, workspace, rule, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A session works whatever the rule's name, even if it is long and longer in JSON: a
// session too long for its reader would be useless.
func TestASessionOfALongRule(t *testing.T) {
	m := &storetest.Memory{}
	r, rule, id := newReplica(t, m, time.Now), strings.Repeat("<", maxRule), strings.Repeat("a", 128)
	r.policy.Rules[0].Match = JoinSettings{}.Match(rule)
	if w, err := r.identify(r.session(issue(t, m, id, rule, time.Now())).Session.Reveal()); err != nil || w.ID != id {
		t.Errorf("Resolve = %q, %v, want the workspace", w.ID, err)
	}
}

func TestASessionIsTheWorkspaceAtEveryReplica(t *testing.T) {
	m, clock := &storetest.Memory{}, time.Now()
	now := func() time.Time { return clock }
	a, b := newReplica(t, m, now), newReplica(t, m, now)
	token := issue(t, m, "sb-1", "agents", clock)
	got := a.session(token)
	if left := got.ExpiresAt.Sub(clock); got.Workspace != "sb-1" || left > SessionLife || left < SessionLife-2*time.Second || len(got.Session.Reveal()) > maxSession {
		t.Errorf("the answer is for %s and %v, want sb-1 and 15m", got.Workspace, left)
	}
	for _, r := range []*replica{a, b} {
		w, err := r.identify(got.Session.Reveal())
		if err != nil || w.ID != "sb-1" || w.Rule != "agents" || w.Caller.Method != "session" {
			t.Errorf("Resolve = %+v, %v, want sb-1 by the rule agents", w, err)
		}
	}
	want := []string{"", broker.Granted}
	var decisions []string
	for _, e := range a.journal.entries {
		decisions = append(decisions, e.Decision)
		if e.Kind != broker.KindExchange || e.Workspace != "sb-1" || e.Rule != "agents" || e.Policy != "h" {
			t.Errorf("the journal has %+v, want who and by which rule", e)
		}
	}
	if !slices.Equal(decisions, want) {
		t.Errorf("the journal has %q, want the intent and the outcome", decisions)
	}
	clock = clock.Add(SessionLife)
	if _, err := b.identify(got.Session.Reveal()); err == nil || !strings.Contains(err.Error(), "has expired") {
		t.Errorf("Resolve after 15m = %v, want that the session has ended", err)
	}
}

func TestASessionIsRenewed(t *testing.T) {
	m, clock := &storetest.Memory{}, time.Now()
	now := func() time.Time { return clock }
	r := newReplica(t, m, now)
	got := r.session(issue(t, m, "sb-1", "agents", clock))
	for range 300 { // three days, with changes of keys
		clock = clock.Add(SessionLife - time.Minute)
		next := r.answer(r.post(got.Session.Reveal(), `{}`))
		if !next.ExpiresAt.After(got.ExpiresAt) || next.Workspace != "sb-1" {
			t.Fatalf("renewed until %v for %s, want later than %v", next.ExpiresAt, next.Workspace, got.ExpiresAt)
		}
		got = next
	}
	if e := r.journal.last(); e.Decision != broker.Granted || e.Workspace != "sb-1" {
		t.Errorf("the journal has %+v, want the renewal", e)
	}
	r.policy = &broker.Policy{}
	if got := r.post(got.Session.Reveal(), `{}`); got.Code != 401 {
		t.Errorf("without its rule: %d %s, want 401", got.Code, got.Body)
	}
}

func TestWhatIsNotExchanged(t *testing.T) {
	m, clock := &storetest.Memory{}, time.Now()
	r := newReplica(t, m, func() time.Time { return clock })
	early := issue(t, m, "sb-1", "agents", clock.Add(time.Hour))
	token := issue(t, m, "sb-1", "agents", clock)
	gone := issue(t, m, "sb-1", "another rule", clock)
	blocked := issue(t, m, "sb-2", "agents", clock)
	old := issue(t, m, "sb-1", "agents", clock.Add(-5*time.Minute))
	session := r.session(issue(t, m, "sb-2", "agents", clock)).Session.Reveal()
	if err := r.blocks.Block(t.Context(), "sb-2"); err != nil {
		t.Fatal(err)
	}
	join := func(t JoinToken) string { return `{"join_token":"` + t.Reveal() + `"}` }
	for _, c := range []struct {
		name, bearer, body string
		status             int
		want               string
	}{
		{"nothing to show", "", `{}`, 401, "has no identity"},
		{"a typo", "", strings.Replace(join(token), "gpj_", "gpj_a", 1), 400, "this is not a complete join token; copy it again"},
		{"an unknown token", "", join(NewJoinToken()), 401, "this broker does not know the join token, or it expired long ago"},
		{"a token that ran out", "", join(old), 401, "the join token has expired; create another"},
		{"a token that lasts too long", "", join(early), 401, "the join token is valid for too long"},
		{"a rule that is gone", "", join(gone), 403, "no caller rule"},
		{"a blocked workspace", "", join(blocked), 403, "sb-2 is blocked"},
		{"a session of a blocked workspace", session, `{}`, 403, "sb-2 is blocked"},
		{"a join token as a session", token.Reveal(), `{}`, 401, "has no identity"},
		{"a session as a join token", "", `{"join_token":"` + session + `"}`, 400, "this is not a complete join token; copy it again"},
		{"a session cut short", session[:len(session)-1], `{}`, 401, "the session has expired, or belongs to another broker; begin another with a new join token"},
		{"a session that is too long", SessionPrefix + strings.Repeat("a", maxSession), `{}`, 401, "this is not a session"},
		{"an unknown key", "", `{"token":"x"}`, 400, "unknown key"},
		{"an empty token", "", `{"join_token":""}`, 400, "leave it out"},
		{"no object", "", `[]`, 400, "not the JSON object"},
		{"a large request", "", strings.Repeat(" ", 5000), 413, "over 4096 bytes"},
	} {
		got := r.post(c.bearer, c.body)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, got.Code, got.Body, c.status, c.want)
		}
	}
	if n := count(t, m, store.Everything()); r.redeem(token).Code != 200 || n == 0 {
		t.Error("a refusal has spent a token")
	}
}

// Two sandboxes that were resumed from one snapshot have the same session. The first
// renewal by the second one is refused with the reason, and then neither can renew.
func TestACopiedSessionIsNoticed(t *testing.T) {
	m, clock := &storetest.Memory{}, time.Now()
	now := func() time.Time { return clock }
	a, b := newReplica(t, m, now), newReplica(t, m, now)
	shared := a.session(issue(t, m, "sb-1", "agents", clock)).Session.Reveal()
	clock = clock.Add(8 * time.Minute)
	renewed := a.answer(a.attempt("one", shared)).Session.Reveal()
	if again := a.answer(b.attempt("one", shared)).Session.Reveal(); again != renewed {
		t.Error("a repeated attempt gets another session")
	}
	clock = clock.Add(3 * time.Minute)
	for i, session := range []string{shared, renewed} {
		name := []string{"the copy", "the other"}[i]
		got := b.attempt("two", session)
		if got.Code != 403 || !strings.Contains(got.Body.String(), "two sandboxes use this session, as copies of one snapshot do, so neither can renew it; give each sandbox its own identity or join token") {
			t.Errorf("%s: %d %s, want 403 and what it means", name, got.Code, got.Body)
		}
		e := b.journal.last()
		if e.Reason != broker.ReasonCopied || e.Decision != broker.Refused || e.Workspace != "sb-1" || e.Rule != "agents" || len(e.Claims["join"]) != 16 || !b.journal.durable[len(b.journal.durable)-1] {
			t.Errorf("%s: the journal has %+v, want the copy, whose it is, on the disk", name, e)
		}
	}
}

// A sandbox that was paused for longer than its session recovers by itself, if its rule
// allows.
func TestAWorkspaceThatSlept(t *testing.T) {
	for _, c := range []struct {
		name         string
		sleep, slept time.Duration
		want         string // of the refusal
	}{
		{"as long as it may", 3 * time.Hour, 2 * time.Hour, ""},
		{"a day", MaxSleep, MaxSleep - 2*time.Minute, ""},
		{"longer", 3 * time.Hour, 3 * time.Hour, "the session expired 3h0m0s ago; the broker's rule lets a workspace sleep for at most 3h0m0s"},
		{"where the rule says nothing", 0, time.Second, "set join: {sleep: 12h} in the broker's rule"},
		{"longer than keys live", 100 * time.Hour, 73 * time.Hour, "the session has expired, or belongs to another broker; begin another with a new join token"},
	} {
		for _, began := range []string{"00:00:00", "12:00:00", "23:50:00", "23:59:59"} {
			clock, err := time.Parse(time.DateTime, "2026-03-01 "+began)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(c.name+", begun at "+began, func(t *testing.T) { checkSleeper(t, clock, c.sleep, c.slept, c.want) })
		}
	}
}

// checkSleeper begins a session at clock, and renews it slept after its end, with a rule that
// allows sleep.
func checkSleeper(t *testing.T, clock time.Time, sleep, slept time.Duration, want string) {
	m := &storetest.Memory{}
	r := newReplica(t, m, func() time.Time { return clock })
	r.policy.Rules[0].Sleep = sleep
	session := r.session(issue(t, m, "sb-1", "agents", clock))
	clock = session.ExpiresAt.Add(slept)
	if _, err := r.identify(session.Session.Reveal()); err == nil {
		t.Error("a session that has ended is taken")
	}
	got := r.attempt("one", session.Session.Reveal())
	if want != "" {
		if got.Code != 401 || !strings.Contains(got.Body.String(), want) {
			t.Errorf("%d %s, want 401 with %q", got.Code, got.Body, want)
		}
		return
	}
	if woken := r.answer(got); woken.ExpiresAt.Sub(clock) < SessionLife-2*time.Second {
		t.Errorf("a session until %v, want 15 minutes", woken.ExpiresAt)
	}
	clock = clock.Add(time.Minute)
	if got := r.attempt("two", session.Session.Reveal()); got.Code != 403 {
		t.Errorf("another one that slept with the same session: %d, want 403", got.Code)
	}
}

// The second to use a token is refused, and that is recorded.
func TestASecondRedeemerRaisesAnAlarm(t *testing.T) {
	m, clock := &storetest.Memory{}, time.Now()
	now := func() time.Time { return clock }
	a, b := newReplica(t, m, now), newReplica(t, m, now)
	token := issue(t, m, "sb-1", "agents", clock)
	a.session(token)
	got := b.redeem(token)
	if got.Code != 403 || !strings.Contains(got.Body.String(), "was used already") {
		t.Errorf("the second redeemer gets %d %s, want 403", got.Code, got.Body)
	}
	if e := b.journal.last(); e.Reason != broker.ReasonReplay || e.Workspace != "sb-1" || e.Decision != broker.Refused || len(e.Claims["join"]) != 16 {
		t.Errorf("the journal has %+v, want the replay and whose token it was", e)
	}
}

// If a broker fails between using up a token and answering, the token stays used up.
func TestACrashSpendsTheToken(t *testing.T) {
	m, clock := &storetest.Memory{}, time.Now()
	now := func() time.Time { return clock }
	a, b := newReplica(t, m, now), newReplica(t, m, now)
	token := issue(t, m, "sb-1", "agents", clock)
	a.journal.full = func(e broker.Entry) bool { return true }
	if got := a.redeem(token); got.Code != 503 || strings.Contains(got.Body.String(), SessionPrefix) {
		t.Errorf("without a journal: %d %s, want 503", got.Code, got.Body)
	}
	if n := count(t, m, store.JoinTokens()); n != 1 {
		t.Fatalf("%d tokens, want 1", n)
	}
	a.journal.full = func(e broker.Entry) bool { return e.Decision != "" } // the intent is written, the outcome is not
	if got := a.redeem(token); got.Code != 503 || strings.Contains(got.Body.String(), SessionPrefix) {
		t.Errorf("without an outcome: %d %s, want 503", got.Code, got.Body)
	}
	for _, r := range []*replica{b, b} {
		if got := r.redeem(token); got.Code != 403 || r.journal.last().Reason != broker.ReasonReplay {
			t.Errorf("after the crash: %d %s, want that the token is spent", got.Code, got.Body)
		}
	}
}

// Other methods do not accept a session, and sessions accept no other bearer tokens.
func TestOtherBearersAreNoSessions(t *testing.T) {
	i := &SessionIdentifier{Keys: &Keyset{Store: &storetest.Memory{}}}
	for _, text := range []string{"", "eyJhbGciOiJub25lIn0.e30.", "gpj_x", "GPS_x"} {
		request := httptest.NewRequest(http.MethodPost, "/", nil)
		request.Header.Set("Authorization", "Bearer "+text)
		if _, err := i.Identify(t.Context(), request); !errors.Is(err, broker.ErrNoProof) {
			t.Errorf("Identify(%q) = %v, want ErrNoProof", text, err)
		}
	}
}

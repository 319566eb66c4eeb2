package brokerclient

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential/credentialtest"
)

// gate exchanges the join token "gpj_right" once, and sessions as the test sets it.
type gate struct {
	mu       sync.Mutex // guards the fields below
	broker   credentialtest.Broker
	spent    bool
	sessions int
	refuse   int           // the status of every exchange, 0 for none
	life     time.Duration // of sessions
	asked    []string      // what clients sent
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != api.ExchangePath {
		g.broker.ServeHTTP(w, r)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	request, err := api.ExchangeCall.Read(w, r)
	shown := request.JoinToken.Reveal()
	g.asked = append(g.asked, shown+api.Bearer(r))
	known := g.broker.Identities[api.Bearer(r)] != "" || shown == "gpj_right" && !g.spent
	switch {
	case err != nil || g.refuse != 0:
		_ = api.WriteProblem(w, api.NewProblem(max(g.refuse, 400), "no"))
	case !known:
		_ = api.WriteProblem(w, api.NewProblem(http.StatusForbidden, "the join token was used already"))
	default:
		g.spent = true
		g.sessions++
		text := "gps_" + strings.Repeat("x", g.sessions)
		g.broker.Identities = map[string]string{text: "sb-1"}
		_ = api.WriteSession(w, api.SessionAnswer{Session: api.NewSecret(text), ExpiresAt: time.Now().Add(g.life), Workspace: "sb-1"})
	}
}

func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func (g *gate) calls() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.asked...)
}

func joinSource(t *testing.T, g *gate) (o *Opener, s *Source, u *url.URL, file string) {
	t.Helper()
	g.broker.Identities = map[string]string{}
	if g.life == 0 {
		g.life = time.Hour
	}
	_, server := serve(t, http.StripPrefix("/base", g))
	file = writeFile(t, "join", "gpj_right\n")
	u, err := url.Parse(strings.Replace(sourceURL(t, server, file), "identity_file", "join_token_file", 1))
	if err != nil {
		t.Fatal(err)
	}
	o = new(Opener)
	if s, err = o.Open(u, "sb-1"); err != nil {
		t.Fatal(err)
	}
	return o, s, u, file
}

func TestAJoinTokenIsShownOnce(t *testing.T) {
	g := &gate{}
	o, s, u, file := joinSource(t, g)
	for range 3 {
		if _, err := s.Token(t.Context(), widgets); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the join token is still there: %v", err)
	}
	again, err := o.Open(u, "sb-1") // as when the workspace file has changed
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Token(t.Context(), widgets); err != nil {
		t.Errorf("a source that is opened again: %v, want the same session", err)
	}
	if got := g.calls(); len(got) != 1 || got[0] != "gpj_right" || !s.NeedsAgent() {
		t.Errorf("the broker was shown %q, want the join token once", got)
	}
}

func TestASessionIsRenewedAhead(t *testing.T) {
	g := &gate{}
	_, s, _, _ := joinSource(t, g)
	s.Upkeep(t.Context())
	j := s.identity.(*joined)
	due := func() { j.mu.Lock(); j.renew = time.Now().Add(-time.Second); j.mu.Unlock() }
	due()
	s.Upkeep(t.Context())
	s.Upkeep(t.Context())
	if got := g.calls(); len(got) != 2 || got[1] != "gps_x" {
		t.Fatalf("the broker was shown %q, want the token, and the session once", got)
	}
	// While it cannot be renewed, it is used until it expires.
	due()
	for _, status := range []int{503, 401} {
		g.set(func() { g.refuse = status })
		if _, err := s.Token(t.Context(), widgets); err != nil {
			t.Errorf("with a broker that renews nothing (%d): %v, want a token", status, err)
		}
	}
	j.mu.Lock()
	j.expires = time.Now()
	j.mu.Unlock()
	if _, err := s.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "put a new join token into") {
		t.Errorf("after the session: %v, want that a join token is needed", err)
	}
}

func TestANewJoinTokenBeginsAnotherSession(t *testing.T) {
	g := &gate{}
	_, s, _, file := joinSource(t, g)
	s.Upkeep(t.Context())
	j := s.identity.(*joined)
	j.mu.Lock()
	j.expires = time.Now().Add(lastMoment - time.Millisecond)
	j.mu.Unlock()
	g.set(func() { g.spent = false })
	if err := os.WriteFile(file, []byte("gpj_right"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), widgets); err != nil || g.sessions != 2 {
		t.Errorf("Token = %v with %d sessions, want a second one", err, g.sessions)
	}
}

// A token that the broker refuses is not sent again and again: each time would raise an
// alarm.
func TestARefusedJoinTokenIsShownOnce(t *testing.T) {
	g := &gate{spent: true}
	_, s, _, file := joinSource(t, g)
	for range 3 {
		if _, err := s.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "was used already; put a new join token into "+file) {
			t.Errorf("Token = %v, want what the broker says", err)
		}
	}
	if got := g.calls(); len(got) != 1 {
		t.Errorf("the broker was shown %d tokens, want 1", len(got))
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the token is revoked: %v", err)
	}
}

func TestJoinTroubles(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"two lines", "gpj_a\nb", "it is not a join token"},
		{"empty", "", "it is not a join token"},
	} {
		g := &gate{}
		_, s, _, file := joinSource(t, g)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Token = %v, want an error with %q", c.name, err, c.want)
		}
	}
	g := &gate{}
	_, s, _, file := joinSource(t, g)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a file: %v", err)
	}
	for name, answer := range map[string]string{"rubbish": "{", "no session": `{"expires_at":"2999-01-01T00:00:00Z"}`, "two lines": `{"session":"a\nb","expires_at":"2999-01-01T00:00:00Z"}`} {
		_, server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", api.MediaType)
			_, _ = io.WriteString(w, answer)
		}))
		s := open(t, strings.Replace(sourceURL(t, server, writeFile(t, "join", "gpj_x")), "identity_file", "join_token_file", 1))
		if _, err := s.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "is not a session") {
			t.Errorf("%s: Token = %v, want that it is no session", name, err)
		}
	}
}

func TestOneProofOnly(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"identity_file=a&join_token_file=b", "more than one of"},
		{"identity_file=a&auth=aws", "more than one of"},
		{"auth=aws", "does not know auth=aws"},
		{"cert_file=a", "add the other one; both may name the same file"},
		{"key_file=a", "add the other one; both may name the same file"},
	} {
		u, err := url.Parse("broker+https://broker.example?" + c.query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(u, "sb-1"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open(%s) = %v, want an error with %q", c.query, err, c.want)
		}
	}
}

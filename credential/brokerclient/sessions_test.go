package brokerclient

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/credentialtest"
	"github.com/gatepass/gatepass/credential/protocol"
)

var (
	_ credential.Source   = (*Sessions)(nil)
	_ credential.Keyer    = (*Sessions)(nil)
	_ credential.Rejecter = (*Sessions)(nil)

	onGateway = credential.Request{Protocol: "https", Host: "broker.example", Path: "Acme/Widgets.git"}
	onAPI     = credential.Request{Protocol: "https", Host: "github.com", Path: "Acme/Widgets", Operation: protocol.OperationAPI}
)

func TestASession(t *testing.T) {
	b := &credentialtest.Broker{Identities: map[string]string{bearer: "sb-1"}}
	s, _ := serve(t, under(b))
	session, err := s.Sessions().Token(t.Context(), onGateway)
	if err != nil {
		t.Fatal(err)
	}
	if session.Secret() != "gpg_test-1" || session.Login() != credential.DefaultUsername || !slices.Equal(session.Refs, []string{"agent/**"}) || session.Author != credentialtest.FreshSession(1, "").Author.String() {
		t.Errorf("Token = %q for %s, refs %v, author %q, want the session", session.Secret(), session.Login(), session.Refs, session.Author)
	}
	if left := time.Until(session.Expiry); left < 14*time.Minute || left > 15*time.Minute {
		t.Errorf("the session lasts %v, want 15 minutes", left)
	}
	if _, err := s.Sessions().Token(t.Context(), onAPI); err != nil {
		t.Fatal(err)
	}
	want := []api.SessionRequest{{}, {Repo: api.Repo{Owner: "acme", Name: "widgets"}}}
	if got := b.SessionRequests(); !slices.Equal(got, want) || len(b.Requests()) != 0 || len(b.Invalid()) != 0 {
		t.Errorf("the broker saw %v, tokens %v, invalid %v, want sessions only: %v", got, b.Requests(), b.Invalid(), want)
	}
}

func TestSessionsOfGitAreOneAndOfProgramsOneForEachRepository(t *testing.T) {
	g := open(t, "broker+https://broker.example").Sessions()
	other := onGateway
	other.Path = ""
	if g.Key(onGateway) != g.Key(other) {
		t.Error("git's requests do not share a session")
	}
	gears := onAPI
	gears.Path = "acme/gears"
	whole := onAPI
	whole.Path = ""
	keys := []string{g.Key(onGateway), g.Key(onAPI), g.Key(gears), g.Key(whole)}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != 4 {
		t.Errorf("keys %q, want four", keys)
	}
	if _, err := g.Token(t.Context(), credential.Request{Path: "acme/../x", Operation: protocol.OperationAPI}); err == nil || !strings.Contains(err.Error(), "not owner/repository") {
		t.Errorf("Token for acme/../x = %v, want that it is no repository, and never every one", err)
	}
}

// The OIDC token of a CI job is valid for minutes, the job runs for hours.
func TestASessionRenewsItselfWhereTheIdentityIsNotTakenAnyMore(t *testing.T) {
	b := &credentialtest.Broker{Identities: map[string]string{bearer: "sb-1"}}
	server := quiet(under(b))
	server.StartTLS()
	t.Cleanup(server.Close)
	file := writeFile(t, "identity", bearer)
	g := open(t, sourceURL(t, server, file)).Sessions()
	first, err := g.Token(t.Context(), onGateway)
	if err != nil {
		t.Fatal(err)
	}
	for n, spoil := range []func() error{
		func() error { return os.WriteFile(file, []byte("expired"), 0o600) },
		func() error { return os.Remove(file) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		next, err := g.Token(t.Context(), onGateway)
		if err != nil || next.Secret() == first.Secret() {
			t.Errorf("%d: Token = %v, want a renewed session", n, err)
		}
		first = next
	}
	// A token that the gateway refused does not renew a session.
	g.Reject(onGateway, first.Fingerprint())
	if _, err := g.Token(t.Context(), onGateway); err == nil || !strings.Contains(err.Error(), "read the identity") {
		t.Errorf("Token after a rejection = %v, want what is wrong with the identity", err)
	}
}

func TestASessionDoesNotRenewItselfAgainstThePolicy(t *testing.T) {
	b := &credentialtest.Broker{}
	s, _ := serve(t, under(b))
	g := s.Sessions()
	if _, err := g.Token(t.Context(), onGateway); err != nil {
		t.Fatal(err)
	}
	b.FailNext(credentialtest.Failure{Status: http.StatusForbidden, Detail: "no rule is for this caller"})
	if _, err := g.Token(t.Context(), onGateway); err == nil || !strings.Contains(err.Error(), "no rule is for this caller") || b.Calls() != 2 {
		t.Errorf("Token = %v after %d calls, want the refusal and no other call", err, b.Calls())
	}
}

func TestWhyThereIsNoSession(t *testing.T) {
	for _, c := range []struct {
		name    string
		failure credentialtest.Failure
		want    string
	}{
		{"an unknown caller", credentialtest.Failure{Status: 401}, "check the identity in"},
		{"a refusal", credentialtest.Failure{Status: 403, Detail: "sb-1 is blocked"}, "it refuses a session for acme/widgets: sb-1 is blocked"},
		{"a broker without a gateway", credentialtest.Failure{Status: 404}, "it has no gateway; ask the broker's operator to add gateway: {}"},
		{"another broker", credentialtest.Failure{Status: 400}, "it does not accept the request for a session for acme/widgets (400)"},
		{"a page", says(200, "text/html", "<html>"), "not JSON"},
		{"a token", says(200, "application/json", `{"username":"x","token":"ghs_x","expires_at":"2126-01-02T03:04:05Z"}`), "the answer has no session"},
		{"a session with a line end", says(200, "application/json", `{"session":"gpg_x\ny","expires_at":"2126-01-02T03:04:05Z"}`), "control"},
		{"one that is over", says(200, "application/json", `{"session":"gpg_x","expires_at":"2001-01-02T03:04:05Z"}`), "the session it gave expired at"},
	} {
		b := &credentialtest.Broker{}
		s, _ := serve(t, under(b))
		b.FailNext(c.failure)
		_, err := s.Sessions().Token(t.Context(), onAPI)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "gpg_x") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Token = %v, want one line with %q", c.name, err, c.want)
		}
	}
}

func says(status int, contentType, body string) credentialtest.Failure {
	return credentialtest.Failure{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})}
}

// handled makes a transport of a handler.
type handled struct{ http.Handler }

func (h handled) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// A sandbox that was frozen for hours continues without help: its session has expired,
// its identity has not.
func TestASessionAfterAFreeze(t *testing.T) {
	b := &credentialtest.Broker{Identities: map[string]string{bearer: "sb-1"}}
	t.Setenv(IdentityVariable, bearer)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "broker+https://broker.example/base")
		s.client = &http.Client{Transport: handled{under(b)}}
		cache := &credential.Cache{Source: s.Sessions()}
		first, err := cache.Token(t.Context(), onGateway)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		if same, err := cache.Token(t.Context(), onGateway); err != nil || same.Secret() != first.Secret() {
			t.Errorf("Token after nine minutes = %v, %v, want the same session", same, err)
		}
		time.Sleep(2 * time.Hour)
		if next, err := cache.Token(t.Context(), onGateway); err != nil || next.Secret() == first.Secret() || time.Until(next.Expiry) < 10*time.Minute {
			t.Errorf("Token after two hours = %v, %v, want another session", next, err)
		}
	})
}

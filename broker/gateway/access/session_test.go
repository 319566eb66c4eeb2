package access_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

const profile = `{allowedRepos: ["acme/*"], allowedRefs: ["agent/{workspace}/**", {ref: "refs/tags/v*", allow: [create]}]}`

type answer struct {
	status    int
	Session   string
	ExpiresAt time.Time `json:"expires_at"`
	Workspace string
	Refs      []string
	text      string
}

// post calls the broker with a bearer token, or as the caller "agent" without one.
func post(t *testing.T, g *brokertest.Gateway, path, bearer, body string) (a answer) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if bearer == "" {
		r.Header.Set("Test-Caller", "agent")
	} else {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	g.Access.Broker.Handler().ServeHTTP(w, r)
	_ = json.Unmarshal(w.Body.Bytes(), &a) // a problem document has none of these fields
	a.status, a.text = w.Code, w.Body.String()
	return a
}

func TestSession(t *testing.T) {
	t.Parallel()
	g := brokertest.NewGateway(t, fakegithub.Options{RESTOnly: true}, profile)
	first := post(t, g, api.SessionPath, "", "{}")
	if first.status != 200 || !strings.HasPrefix(first.Session, "gpg_") || first.Workspace != "sb-agent" || strings.Join(first.Refs, " ") != "agent/sb-agent/** refs/tags/v*" {
		t.Fatalf("a session: %+v, want one with the refs of the workspace", first)
	}
	if left := first.ExpiresAt.Sub(g.Now()); left < 14*time.Minute || left > 15*time.Minute {
		t.Errorf("a session lasts %v, want 15 minutes", left)
	}
	for _, c := range []struct {
		name, bearer, body string
		status             int
	}{
		{"its renewal", first.Session, "{}", 200},
		{"its renewal for one repository", first.Session, `{"repo":"acme/widgets"}`, 200},
		{"one for a repository that the profile does not have", "", `{"repo":"octo/widgets"}`, 403},
		{"a token of GitHub's", "ghs_0123456789abcdefghijABCDEFGHIJ012345", "{}", 401},
		{"a changed session", first.Session + "A", "{}", 401},
		{"what is no request", "", `{"repos":["acme/widgets"]}`, 400},
	} {
		if got := post(t, g, api.SessionPath, c.bearer, c.body); got.status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, got.status, got.text, c.status)
		}
	}
	narrow := post(t, g, api.SessionPath, first.Session, `{"repo":"acme/widgets"}`)
	for body, want := range map[string]int{"{}": 200, `{"repo":"acme/widgets"}`: 200, `{"repo":"acme/other"}`: 403} {
		if got := post(t, g, api.SessionPath, narrow.Session, body); got.status != want {
			t.Errorf("the renewal of a session for one repository with %s: %d %s, want %d", body, got.status, got.text, want)
		}
	}
	again := post(t, g, api.SessionPath, narrow.Session, "{}") // it stays a session for one repository
	if got := post(t, g, api.SessionPath, again.Session, `{"repo":"acme/other"}`); got.status != 403 {
		t.Errorf("a renewed session for one repository becomes one for another: %d %s", got.status, got.text)
	}
	for _, e := range g.Journal.Of(broker.KindSession) {
		if e.Workspace != "sb-agent" || e.Decision == "" || strings.Contains(e.Detail, "gpg_") {
			t.Errorf("the audit log has %+v", e)
		}
	}
}

// Other calls refuse a gateway session, even if the connection also proves an identity.
func TestOtherCallsRefuseASession(t *testing.T) {
	t.Parallel()
	g := brokertest.NewGateway(t, fakegithub.Options{RESTOnly: true}, profile)
	session := g.Session("")
	for path, body := range map[string]string{
		api.TokenPath: `{"host":"github.com","repo":"acme/widgets","operation":"read"}`, broker.CredentialsPath: "protocol=https\nhost=github.com\npath=acme/widgets\n",
		api.RefusedPushesPath: `{"host":"github.com","repo":"acme/widgets","updates":[]}`,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+session)
		r.Header.Set("Test-Caller", "agent") // another valid proof
		w := httptest.NewRecorder()
		g.Access.Broker.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "ghs_") {
			t.Errorf("%s answers a session %d %s, want 401", path, w.Code, w.Body)
		}
	}
	if n := g.Counts().Mints; n != 0 {
		t.Errorf("%d tokens were minted, want none", n)
	}
}

func TestSessionOfABlockedWorkspace(t *testing.T) {
	t.Parallel()
	g := brokertest.NewGateway(t, fakegithub.Options{RESTOnly: true}, profile)
	session := g.Session("")
	if err := g.Access.Broker.Blocklist.Block(t.Context(), "sb-agent"); err != nil {
		t.Fatal(err)
	}
	for _, bearer := range []string{"", session} {
		if got := post(t, g, api.SessionPath, bearer, "{}"); got.status != 403 || got.Session != "" {
			t.Errorf("a session of a blocked workspace: %d %s, want 403", got.status, got.text)
		}
	}
}

// Without an audit log no session is given.
func TestSessionThatCannotBeWrittenDown(t *testing.T) {
	t.Parallel()
	g := brokertest.NewGateway(t, fakegithub.Options{RESTOnly: true}, profile)
	g.Journal.Fail(http.ErrHandlerTimeout)
	if got := post(t, g, api.SessionPath, "", "{}"); got.status != 503 || got.Session != "" {
		t.Errorf("a session without an audit log: %d %s, want 503", got.status, got.text)
	}
}

package brokertest

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/connectproxy"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/workspace/profile"
)

// everything is the permissions of a Gateway's App; a profile limits them for a token.
var everything = fakegithub.Permissions{
	"actions": "write", "administration": "write", "checks": "write", "contents": "write", "deployments": "write", "environments": "write",
	"issues": "write", "merge_queues": "write", "metadata": "read", "pages": "write", "pull_requests": "write", "secrets": "write",
	"security_events": "write", "statuses": "write", "workflows": "write",
}

// A Gateway is a broker in front of a GitHub double that listens, for tests of what the
// broker forwards. The caller "agent" is the workspace sb-agent, and "other" is
// sb-other.
type Gateway struct {
	*fakegithub.Server
	Access  *access.Access
	Journal *MemoryJournal

	t      testing.TB
	host   string // the GitHub's host, as git names it
	policy *broker.Policy
}

// NewGateway returns a Gateway that is closed when the test ends. acme has the
// repositories widgets and other, octo has widgets, and the App is installed on both.
// github is the content of spec.sourceAccess.github in the workspace's profile.
func NewGateway(t testing.TB, o fakegithub.Options, github string) *Gateway {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	gh, err := fakegithub.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	g := &Gateway{Server: gh, Journal: new(MemoryJournal), t: t, host: cmp.Or(o.Residency, "github.com")}
	g.SetProfile(github)
	upstream, client := g.upstream(o.Residency)
	store := &storetest.Memory{Now: gh.Now}
	b := broker.New(broker.Config{
		Policy: func() *broker.Policy { return g.policy }, Journal: g.Journal, Store: store, GitHub: g.install(upstream, client), Now: gh.Now, Log: slog.New(slog.DiscardHandler),
	})
	g.Access = &access.Access{Broker: b, Sessions: &identity.GatewaySessions{Keys: &identity.Keyset{Store: store, Now: gh.Now}, Now: gh.Now}, Upstream: upstream}
	b.Extra = map[string]broker.Endpoint{"/v1/session": g.Access.SessionEndpoint()}
	return g
}

// upstream returns how the gateway reaches the double, and a client for minting. A host
// with data residency has two names, which a proxy leads to the double.
func (g *Gateway) upstream(residency string) (*access.Upstream, *http.Client) {
	g.t.Helper()
	address, route := g.URL(), access.Route{Roots: x509.NewCertPool()}
	route.Roots.AppendCertsFromPEM(g.CAPEM())
	if residency != "" {
		proxy := connectproxy.New(g.t, "")
		proxy.LeadTo(g.Server.Host())
		address, route.Proxy = "https://"+residency, proxy.Address()
	}
	upstream, err := access.NewUpstream(address)
	if err != nil {
		g.t.Fatal(err)
	}
	upstream.Through(route)
	transport := new(http.Transport)
	route.Apply(transport)
	g.t.Cleanup(transport.CloseIdleConnections)
	return upstream, &http.Client{Transport: transport}
}

// install makes the repositories and the App, and installs the App.
func (g *Gateway) install(upstream *access.Upstream, client *http.Client) *mint.App {
	g.t.Helper()
	private := key()
	signer, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}))
	if err != nil {
		g.t.Fatal(err)
	}
	app, err := g.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&private.PublicKey}, Permissions: maps.Clone(everything)})
	if err != nil {
		g.t.Fatal(err)
	}
	for _, repo := range []fakegithub.Repository{{Owner: "acme", Name: "widgets"}, {Owner: "acme", Name: "other"}, {Owner: "octo", Name: "widgets"}} {
		if _, err := g.AddRepository(repo); err != nil {
			g.t.Fatal(err)
		}
	}
	for _, owner := range []string{"acme", "octo"} {
		if _, err := g.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: owner, RepositorySelection: "all"}); err != nil {
			g.t.Fatal(err)
		}
	}
	return &mint.App{ID: app.ClientID, Signer: signer, URL: upstream.API.String(), Client: client, Now: g.Now}
}

// SetProfile changes the workspace's profile from the next request on, as a reload of
// the configuration does.
func (g *Gateway) SetProfile(github string) {
	g.t.Helper()
	p, err := profile.Parse([]byte("metadata: {name: agent}\nspec: {sourceAccess: {github: " + github + "}}"))
	if err != nil {
		g.t.Fatal(err)
	}
	g.policy = &broker.Policy{
		Hash: "2f6c0a5e9d1b4837a6e2c9f05d7b8e1430cfa97b6d58e2143b9f07ac65d8e912", Hosts: []string{g.host},
		Rules: []broker.Rule{
			{Name: "agents", By: ByHeader{}, Method: "test", Match: broker.Exactly{"id": "agent"}, Workspace: "sb-agent", Profile: p},
			{Name: "others", By: ByHeader{}, Method: "test", Match: broker.Exactly{"id": "other"}, Workspace: "sb-other", Profile: p},
		},
	}
}

// Session returns a session of sb-agent for one repository; "" means every repository
// of its profile.
func (g *Gateway) Session(repo string) string {
	g.t.Helper()
	return g.SessionOf("agent", repo)
}

// SessionOf returns a session of a caller's workspace.
func (g *Gateway) SessionOf(caller, repo string) string {
	g.t.Helper()
	body := "{}"
	if repo != "" {
		body = `{"repo":"` + repo + `"}`
	}
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/v1/session", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Test-Caller", caller)
	w := httptest.NewRecorder()
	g.Access.Broker.Handler().ServeHTTP(w, r)
	var answer struct{ Session string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK || answer.Session == "" {
		g.t.Fatalf("ask for a session of %q: %d %s", repo, w.Code, w.Body)
	}
	return answer.Session
}

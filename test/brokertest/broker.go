// Package brokertest provides a complete broker in front of the GitHub double, for
// tests of the code around it.
package brokertest

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"
	"github.com/gatepass/gatepass/test/testkey"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

// OperatorToken is the bearer token of the operator "night" of a Broker.
const OperatorToken = "operator-0123456789abcdef0123"

var key = sync.OnceValue(func() *rsa.PrivateKey { return testkey.RSA(2048, 0) })

// ByHeader believes the header Test-Caller.
type ByHeader struct{}

// Identify implements [broker.Identifier]. "forged" is an invalid proof.
func (ByHeader) Identify(_ context.Context, r *http.Request) (broker.Caller, error) {
	switch who := r.Header.Get("Test-Caller"); who {
	case "":
		return broker.Caller{}, broker.ErrNoProof
	case "forged":
		return broker.Caller{}, errors.New("the signature does not hold")
	default:
		return broker.Caller{Method: "test", Subject: who, Claims: map[string]any{"id": who}}, nil
	}
}

// A MemoryJournal is a journal in memory, whose writes can be made to fail.
type MemoryJournal struct {
	mu      sync.Mutex // guards the rest
	entries []broker.Entry
	err     error
}

// Write implements [broker.Journal].
func (p *MemoryJournal) Write(_ context.Context, e broker.Entry, _ bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.entries = append(p.entries, e)
	return nil
}

// Fail makes every write fail with err; nil makes writes succeed again.
func (p *MemoryJournal) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// Of returns the entries of a kind.
func (p *MemoryJournal) Of(kind string) []broker.Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []broker.Entry
	for _, e := range p.entries {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// A GitHub has the App installed on acme and octo, which each have a repository
// widgets, and a store for the broker.
type GitHub struct {
	*fakegithub.Server
	T             testing.TB
	Store         *storetest.Memory
	AppID         int64
	ClientID      string
	Installations map[string]int64 // by account
}

// NewGitHub returns a GitHub that is closed when the test ends. Its clock is the
// machine's; Advance moves it.
func NewGitHub(t testing.TB) *GitHub {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	private := key()
	app, err := gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&private.PublicKey}, Permissions: map[string]string{"contents": "write", "checks": "write"}})
	if err != nil {
		t.Fatal(err)
	}
	g := &GitHub{Server: gh, T: t, Store: &storetest.Memory{Now: gh.Now}, AppID: app.ID, ClientID: app.ClientID, Installations: map[string]int64{}}
	for _, owner := range []string{"acme", "octo"} {
		g.Repository(owner, "widgets")
		in, err := gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: owner, RepositorySelection: "all"})
		if err != nil {
			t.Fatal(err)
		}
		g.Installations[owner] = in.ID
	}
	return g
}

// Repository adds a repository.
func (g *GitHub) Repository(owner, name string) {
	g.T.Helper()
	if _, err := g.AddRepository(fakegithub.Repository{Owner: owner, Name: name}); err != nil {
		g.T.Fatal(err)
	}
}

// Mints returns how many tokens were requested.
func (g *GitHub) Mints() int {
	return g.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/access_tokens") })
}

// A Broker is one replica of a broker. Its rules: the caller "ci" is workspace ci with
// all access to acme and octo; a caller whose name begins with "sb-" is a workspace of
// that name that may clone acme/widgets; every other caller is refused.
type Broker struct {
	*GitHub
	App       *mint.App
	Journal   *MemoryJournal
	Blocklist *blocklist.List
	Cache     *broker.Cache
	Policy    *broker.Policy
	Server    *broker.Broker

	once    sync.Once
	handler http.Handler
}

// NewBroker returns a replica. wrap may decorate its journal; nil does not.
func NewBroker(g *GitHub, wrap func(broker.Journal) broker.Journal) *Broker {
	g.T.Helper()
	private := key()
	signer, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}))
	if err != nil {
		g.T.Fatal(err)
	}
	b := &Broker{GitHub: g, Journal: new(MemoryJournal)}
	b.App = &mint.App{ID: g.ClientID, Signer: signer, URL: "https://github.test", Client: &http.Client{Transport: g.Transport()}, Now: g.Now}
	b.Policy = b.policy()
	var journal broker.Journal = b.Journal
	if wrap != nil {
		journal = wrap(journal)
	}
	b.Server = broker.New(broker.Config{
		Policy: func() *broker.Policy { return b.Policy }, Journal: journal, Store: g.Store, GitHub: b.App, Now: g.Now, Log: slog.New(slog.DiscardHandler),
	})
	b.Blocklist, b.Cache = b.Server.Blocklist, b.Server.Cache
	return b
}

func (b *Broker) policy() *broker.Policy {
	sum := sha256.Sum256([]byte(OperatorToken))
	night, err := identity.ParseBearer(hex.EncodeToString(sum[:]))
	if err != nil {
		b.T.Fatal(err)
	}
	sandbox, err := broker.CompilePattern("sb-.+")
	if err != nil {
		b.T.Fatal(err)
	}
	return &broker.Policy{
		Hash: "c1d80f6e2a7745b39e0c4fd86a1b7723f95e08d24c6ab1907d3e5f8821c0a4b6", Hosts: []string{"github.com"},
		Rules: []broker.Rule{
			{Name: "ci", By: ByHeader{}, Method: "test", Match: broker.Exactly{"id": "ci"}, Workspace: "ci", Profile: b.Profile("ci", "[acme/*, octo/*]", "[push]")},
			{Name: "sandboxes", By: ByHeader{}, Method: "test", Match: broker.Patterns{"id": sandbox}, Workspace: "{claim.id}", Profile: b.Profile("sandbox", "[acme/widgets]", "[clone]")},
		},
		Operators: []broker.OperatorRule{{Name: "night", Key: "key-of-night", By: night}},
	}
}

// Profile parses a profile.
func (b *Broker) Profile(name, repos, permissions string) *profile.Profile {
	b.T.Helper()
	p, err := profile.Parse([]byte("metadata: {name: " + name + "}\nspec: {sourceAccess: {github: {allowedRepos: " + repos + ", permissions: " + permissions + "}}}"))
	if err != nil {
		b.T.Fatal(err)
	}
	return p
}

// Issuer returns an issuer that delivers tokens to workspaces.
func (b *Broker) Issuer(context.Context) (*workspace.Issuer, error) {
	return &workspace.Issuer{App: b.App, Store: b.Store, Now: b.Now, LockWait: 5 * time.Second}, nil
}

// Handler returns the broker's handler. The first call decides: later changes of the
// Server's Mounted have no effect.
func (b *Broker) Handler() http.Handler {
	b.once.Do(func() { b.handler = b.Server.Handler() })
	return b.handler
}

// Do sends a request: as the operator "night" if who is "night", otherwise as that
// caller; "" means without credentials. A body that is not "" is JSON.
func (b *Broker) Do(who, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	switch who {
	case "":
	case "night":
		r.Header.Set("Authorization", "Bearer "+OperatorToken)
	default:
		r.Header.Set("Test-Caller", who)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	return w
}

// Token requests a token as a caller.
func (b *Broker) Token(caller, repo, operation string) *httptest.ResponseRecorder {
	return b.Do(caller, http.MethodPost, "/v1/token", `{"host":"github.com","repo":"`+repo+`","operation":"`+operation+`"}`)
}

// MustToken is Token, but returns the token's text.
func (b *Broker) MustToken(caller, repo, operation string) string {
	b.T.Helper()
	got := b.Token(caller, repo, operation)
	var answer struct{ Token string }
	if err := json.NewDecoder(bytes.NewReader(got.Body.Bytes())).Decode(&answer); err != nil || got.Code != http.StatusOK {
		b.T.Fatalf("%s asks for %s: %d %s", caller, repo, got.Code, got.Body)
	}
	return answer.Token
}

package broker

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/broker/blocklist"
	"github.com/gatepass/gatepass/test/testkey"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/workspace/profile"
)

var testKey = testkey.RSA(2048, 0)

// byHeader identifies the caller by a header that the test sets.
type byHeader struct{}

func (byHeader) Identify(_ context.Context, r *http.Request) (Caller, error) {
	switch who := r.Header.Get("Test-Caller"); who {
	case "":
		return Caller{}, ErrNoProof
	case "forged":
		return Caller{}, errors.New("the signature does not hold")
	default:
		return Caller{Method: "test", Subject: who, Claims: map[string]any{"id": who, "n": json.Number("7"), "in": map[string]any{"side": who}, "list": []any{who}}}, nil
	}
}

// paper is a journal in memory, which can fail.
type paper struct {
	mu      sync.Mutex // guards the rest
	entries []Entry
	err     error
	only    string // err is only for this kind; "" means all
}

func (p *paper) Write(_ context.Context, e Entry, _ bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil && (p.only == "" || p.only == e.Kind) {
		return p.err
	}
	p.entries = append(p.entries, e)
	return nil
}

func (p *paper) kinds() (kinds []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		kinds = append(kinds, strings.TrimSpace(e.Kind+" "+e.Decision))
	}
	return kinds
}

// bench is a broker with a fake GitHub that has acme and octo.
type bench struct {
	*fakegithub.Server
	t       *testing.T
	app     *mint.App
	store   *storetest.Memory
	journal *paper
	blocks  *blocklist.List
	cache   *Cache
	keeper  *VendLog
	policy  *Policy
	handler http.Handler
}

func newBench(t *testing.T) *bench {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, RESTOnly: true, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	app, err := gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: map[string]string{"contents": "write", "checks": "write"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"acme", "octo"} {
		if _, err := gh.AddRepository(fakegithub.Repository{Owner: owner, Name: "widgets"}); err != nil {
			t.Fatal(err)
		}
		if _, err := gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: owner, RepositorySelection: "all"}); err != nil {
			t.Fatal(err)
		}
	}
	signer, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey)}))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Server: gh, t: t, journal: new(paper), store: &storetest.Memory{Now: gh.Now}}
	b.app = &mint.App{ID: app.ClientID, Signer: signer, URL: "https://github.test", Client: &http.Client{Transport: gh.Transport()}, Now: gh.Now}
	b.policy = &Policy{Hash: "h", Hosts: []string{"github.com"}, Rules: []Rule{
		{Name: "ci", By: byHeader{}, Match: Exactly{"id": "ci"}, Workspace: "ci-{claim.n}", Profile: b.profile("[acme/widgets, octo/*]", "[push]")},
		{Name: "any", By: byHeader{}, Workspace: "{claim.id}", Profile: b.profile("[acme/widgets]", "[clone]")},
	}}
	b.start(Config{})
	return b
}

// start makes the broker. Fields that c leaves out are the bench's.
func (b *bench) start(c Config) *Broker {
	c.Policy, c.GitHub, c.Log = func() *Policy { return b.policy }, b.app, slog.New(slog.DiscardHandler)
	if c.Journal == nil {
		c.Journal = b.journal
	}
	if c.Store == nil {
		c.Store = b.store
	}
	if c.Now == nil {
		c.Now = b.Now
	}
	made := New(c)
	b.blocks, b.cache, b.keeper, b.handler = made.Blocklist, made.Cache, made.VendLog, made.Handler()
	return made
}

func (b *bench) profile(repos, permissions string) *profile.Profile {
	b.t.Helper()
	p, err := profile.Parse([]byte("spec: {sourceAccess: {github: {allowedRepos: " + repos + ", permissions: " + permissions + "}}}"))
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// ask posts a request as a caller.
func (b *bench) ask(caller, path, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	if caller != "" {
		r.Header.Set("Test-Caller", caller)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

func (b *bench) token(caller, repo, operation string) *httptest.ResponseRecorder {
	return b.ask(caller, "/v1/token", "application/json", `{"host":"github.com","repo":"`+repo+`","operation":"`+operation+`"}`)
}

func (b *bench) mints() int {
	return b.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/access_tokens") })
}

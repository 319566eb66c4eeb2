package broker

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/workspace"
)

var testKey = func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}()

// byHeader believes what a test says.
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

// paper is a journal in memory, which can run out.
type paper struct {
	mu      sync.Mutex // guards the rest
	entries []Entry
	err     error
	only    string // err is for this kind alone; "" is for all
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

// bench is a broker before a GitHub with acme and octo.
type bench struct {
	*fakegithub.Server
	t       *testing.T
	app     *mint.App
	store   *storetest.Memory
	journal *paper
	blocks  *Blocklist
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

// start makes the broker. A field that c does not say is the bench's.
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

func (b *bench) profile(repos, permissions string) *workspace.Profile {
	b.t.Helper()
	p, err := workspace.ParseProfile([]byte("spec: {sourceAccess: {github: {allowedRepos: " + repos + ", permissions: " + permissions + "}}}"))
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

func TestATokenOpensWhatWasAskedAndNoMore(t *testing.T) {
	b := newBench(t)
	got := b.token("ci", "Acme/Widgets", "read")
	var answer struct {
		Username, Token string
		Repositories    []string
		Permissions     map[string]string
	}
	if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil || got.Code != 200 || answer.Username != "x-access-token" {
		t.Fatalf("answer = %d %s", got.Code, got.Body)
	}
	if !slices.Equal(answer.Repositories, []string{"acme/widgets"}) || len(answer.Permissions) != 1 || answer.Permissions["contents"] != "read" {
		t.Errorf("answer = %+v, want acme/widgets to read", answer)
	}
	live := b.Tokens()
	if len(live) != 1 || live[0].Permissions["contents"] != "read" || len(live[0].Repositories) != 1 {
		t.Errorf("GitHub has %+v, want one token for one repository to read", live)
	}
	if want := []string{"intent", "minted granted", "request granted"}; !slices.Equal(b.journal.kinds(), want) {
		t.Errorf("the journal has %q, want %q", b.journal.kinds(), want)
	}
	last := b.journal.entries[2]
	if last.Workspace != "ci-7" || last.Rule != "ci" || last.Policy != "h" || last.Hash != live[0].Hash || last.Subject != "ci" {
		t.Errorf("the last line is %+v, want who got what by which rule", last)
	}
}

func TestWhatIsRefusedAndHow(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		name, caller, body string
		status             int
		want               string
	}{
		{"nobody", "", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`, 401, "carries no identity"},
		{"a forged identity", "forged", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`, 401, "the signature does not hold"},
		{"another host", "ci", `{"host":"gitlab.com","repo":"acme/widgets","operation":"read"}`, 204, ""},
		{"another repository", "ci", `{"host":"github.com","repo":"acme/payroll","operation":"read"}`, 403, "the profile of workspace ci-7 does not allow acme/payroll"},
		{"a write where the profile clones", "x", `{"host":"github.com","repo":"acme/widgets","operation":"write"}`, 403, "does not allow contents: write"},
		{"a permission that the profile lacks", "ci", `{"host":"github.com","repo":"acme/widgets","operation":"read","permissions":{"checks":"write"}}`, 403, "does not allow checks: write"},
		{"a level that is none", "ci", `{"host":"github.com","repo":"acme/widgets","operation":"read","permissions":{"contents":"all"}}`, 400, "the level"},
		{"an identity that makes no id", "../x", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`, 403, "makes no workspace's id"},
		{"a malformed request", "ci", `{"host":"github.com"}`, 400, `repo\" is owner/name`},
		{"a large request", "ci", strings.Repeat(" ", 5000), 413, "at most 4096 bytes"},
		{"a repository that GitHub does not have", "ci", `{"host":"github.com","repo":"octo/nothing","operation":"read"}`, 403, "octo/nothing"},
	} {
		got := b.ask(c.caller, "/v1/token", "application/json", c.body)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, got.Code, got.Body, c.status, c.want)
		}
		if kind := got.Header().Get("Content-Type"); c.status != 204 && kind != "application/problem+json" {
			t.Errorf("%s: Content-Type %q, want a problem document", c.name, kind)
		}
	}
	if live := b.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive, want none", len(live))
	}
}

// What cannot be written down is not given, and is not left alive.
func TestAuditFailsClosed(t *testing.T) {
	for _, kind := range []string{"intent", "minted", "request"} {
		b := newBench(t)
		b.journal.err, b.journal.only = errors.New("no space"), kind
		got := b.token("ci", "acme/widgets", "read")
		if got.Code != 503 || strings.Contains(got.Body.String(), "ghs_") || got.Header().Get("Retry-After") == "" {
			t.Errorf("without a line for %s: %d %s, want 503", kind, got.Code, got.Body)
		}
		if live := len(b.Tokens()); kind != "request" && live != 0 {
			t.Errorf("without a line for %s %d tokens are alive, want none", kind, live)
		}
	}
}

func TestManyOfOneScopeMintOnce(t *testing.T) {
	b := newBench(t)
	b.start(Config{Limits: func() Limits { return Limits{} }}) // which bounds nothing
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if got := b.token("ci", "acme/widgets", "read"); got.Code != 200 {
				t.Errorf("answer = %d %s", got.Code, got.Body)
			}
		})
	}
	wg.Wait()
	if n := b.mints(); n != 1 {
		t.Errorf("GitHub was asked %d times, want once", n)
	}
}

// What is given can be revoked by whoever has the store.
func TestWhatIsGivenIsKept(t *testing.T) {
	b := newBench(t)
	b.token("ci", "acme/widgets", "write")
	i := &workspace.Issuer{App: b.app, Store: b.store, Now: b.Now}
	if _, err := i.Destroy(t.Context(), "ci-7"); err != nil {
		t.Fatal(err)
	}
	if live := b.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive after the workspace was destroyed, want none", len(live))
	}
}

func TestGitsOwnFormat(t *testing.T) {
	b := newBench(t)
	got := b.ask("ci", CredentialsPath, "text/plain", "protocol=https\nhost=github.com\npath=acme/widgets.git\n\n")
	if got.Code != 200 || !strings.HasPrefix(got.Body.String(), "username=x-access-token\npassword=ghs_") || strings.Count(got.Body.String(), "\n") != 3 {
		t.Errorf("answer = %d %s, want git's format", got.Code, got.Body)
	}
	for body, want := range map[string]int{
		"protocol=http\nhost=github.com\npath=acme/widgets.git\n\n":           204,
		"protocol=https\nhost=gitlab.com\npath=acme/widgets.git\n\n":          204,
		"protocol=https\nhost=github.com\n\n":                                 400,
		"nonsense":                                                            400,
		"protocol=https\nhost=github.com\npath=acme/payroll.git\n\n":          403,
		"protocol=https\nhost=github.com\npath=" + strings.Repeat("a", 20000): 413,
	} {
		if got := b.ask("ci", CredentialsPath, "text/plain", body); got.Code != want {
			t.Errorf("%.60q: %d %s, want %d", body, got.Code, got.Body, want)
		}
	}
}

func TestTheZeroPolicyRefuses(t *testing.T) {
	_, err := new(Policy).Resolve(t.Context(), httptest.NewRequest(http.MethodPost, "/", nil))
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Status != 401 {
		t.Errorf("Resolve = %v, want 401", err)
	}
	if _, err := Authorize(Workspace{Policy: new(Policy)}, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "a", Name: "b"}, Operation: "read"}); err == nil {
		t.Error("the zero Policy serves a host")
	}
	if _, err := Authorize(Workspace{Policy: &Policy{Hosts: []string{"github.com"}}}, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "a", Name: "b"}, Operation: "read"}); err == nil {
		t.Error("a workspace without a profile is given something")
	}
}

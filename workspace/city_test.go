package workspace

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/openapi"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/gatepass/gatepass/workspace/profile"
)

var errKilled = errors.New("killed")

// mortal counts the effects of a run and kills it at one of them: either the effect
// takes place without an answer, or it does not take place. Afterwards nothing works
// any more.
type mortal struct {
	at      int // the number of the effect that kills; 0 for none
	after   bool
	isPlain bool // the run's store is not a [store.Swapper]

	mu     sync.Mutex // guards the fields below
	count  int
	isDead bool
	// isQuiet means that the run cannot report the effect that killed it.
	isQuiet bool
}

func (m *mortal) do(effect func() error) error {
	if dead, last := m.next(); dead {
		return errKilled
	} else if !last {
		return effect()
	}
	if m.after {
		_ = effect()
	}
	return errKilled
}

// next counts an effect: after death none takes place, and the last one may.
func (m *mortal) next() (isDead, isLast bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isDead {
		return true, false
	}
	m.count++
	m.isDead = m.count == m.at
	return false, m.isDead
}

// dead reports whether the run was killed.
func (m *mortal) dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.isDead
}

// mortalStore is a store of a run that can be killed.
type mortalStore struct {
	store.Store
	m *mortal
}

func (s mortalStore) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	return s.m.do(func() error { return s.Store.Put(ctx, n, v, mode) })
}

func (s mortalStore) Swap(ctx context.Context, n store.Name, v store.Secret, version string, due time.Time) (next string, err error) {
	err = s.m.do(func() error {
		next, err = s.Store.(store.Swapper).Swap(ctx, n, v, version, due)
		return err
	})
	return next, err
}

func (s mortalStore) Delete(ctx context.Context, n store.Name) error {
	wasDead := s.m.dead()
	err := s.m.do(func() error { return s.Store.Delete(ctx, n) })
	if isDead := s.m.dead(); isDead && !wasDead && n.IsLock() {
		s.m.isQuiet = true
	}
	return err
}

func (s mortalStore) Get(ctx context.Context, n store.Name) (e store.Entry, err error) {
	if s.m.dead() {
		return e, errKilled
	}
	return s.Store.Get(ctx, n)
}

func (s mortalStore) List(ctx context.Context, p store.Prefix) iter.Seq2[store.Name, error] {
	if s.m.dead() {
		return func(yield func(store.Name, error) bool) { yield(store.Name{}, errKilled) }
	}
	return s.Store.List(ctx, p)
}

// mortalGitHub is the network of a run that can be killed.
type mortalGitHub struct {
	http.RoundTripper
	m *mortal
}

func (g mortalGitHub) RoundTrip(r *http.Request) (response *http.Response, err error) {
	if r.Method == http.MethodGet && !g.m.dead() {
		return g.RoundTripper.RoundTrip(r)
	}
	err = g.m.do(func() (err error) {
		response, err = g.RoundTripper.RoundTrip(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// city is a GitHub with two owners, and a store that knows both.
type city struct {
	*fakegithub.Server
	t     *testing.T
	app   fakegithub.App
	key   *mint.KeySigner
	store store.Store
}

var testKey = testkey.RSA(2048, 0)

func newCity(t *testing.T) *city { return newCityWithLimit(t, 0) }

// newCityWithLimit returns a city whose GitHub accepts that many requests an hour.
func newCityWithLimit(t *testing.T, limit int) *city {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, RESTOnly: true, Root: t.TempDir(), RateLimit: limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	c := &city{Server: gh, t: t, store: &storetest.Memory{Now: gh.Now}}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey)}
	if c.key, err = mint.ParseKey(pem.EncodeToMemory(block)); err != nil {
		t.Fatal(err)
	}
	if c.app, err = gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: map[string]string{"contents": "write"}}); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"Acme", "octo"} {
		c.settleIn(owner)
	}
	return c
}

// foreign makes a token that is not in the ledger.
func (c *city) foreign() string {
	c.t.Helper()
	installed, err := StoredInstallations(c.t.Context(), c.store)
	if err != nil {
		c.t.Fatal(err)
	}
	token, err := c.MintFor(installed[0].ID, nil, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

func (c *city) settleIn(owner string) {
	c.t.Helper()
	if _, err := c.AddRepository(fakegithub.Repository{Owner: owner, Name: "widgets"}); err != nil {
		c.t.Fatal(err)
	}
	in, err := c.AddInstallation(fakegithub.Installation{AppID: c.app.ID, Account: owner, RepositorySelection: "all"})
	if err != nil {
		c.t.Fatal(err)
	}
	name, err := store.Installation(owner)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.store.Put(c.t.Context(), name, store.NewSecret(fmt.Sprint(in.ID, "\n")), store.Replace); err != nil {
		c.t.Fatal(err)
	}
}

// contract is GitHub's description of its REST API.
var (
	loadContract sync.Once
	contract     openapi.Contract
)

// run returns an Issuer like that of one process.
func (c *city) run(m *mortal) *Issuer {
	loadContract.Do(func() { contract = openapi.Load(c.t, "../test/fakegithub/testdata/openapi/schemas.json") })
	client := &http.Client{Transport: mortalGitHub{contract.Watch(c.t, c.Transport()), m}}
	i := &Issuer{
		App:   &mint.App{ID: c.app.ClientID, Signer: c.key, URL: "https://github.test", Client: client, Now: c.Now},
		Store: mortalStore{c.store, m}, Now: c.Now,
	}
	if m.isPlain {
		i.Store = storetest.Plain(i.Store)
	}
	return i
}

// held returns the names and hashes of the live tokens in the store.
func (c *city) held() (names, hashes []string) {
	c.t.Helper()
	for name, err := range c.store.List(c.t.Context(), store.Workspaces()) {
		if err != nil {
			c.t.Fatal(err)
		}
		names = append(names, strings.TrimPrefix(name.String(), "sandbox/sb-1/"))
		if entry, err := c.store.Get(c.t.Context(), name); err == nil && (name.IsToken() || name.IsSuperseded()) {
			hashes = append(hashes, credential.NewToken(entry.Value.Reveal(), time.Time{}).Hash())
		}
	}
	slices.Sort(names)
	slices.Sort(hashes)
	return names, slices.Compact(hashes)
}

func (c *city) checkNames(want ...string) {
	c.t.Helper()
	if names, _ := c.held(); !slices.Equal(names, want) {
		c.t.Errorf("the store has %q, want %q", names, want)
	}
}

// checkLive allows only as many live tokens outside the store as were lost.
func (c *city) checkLive(delivered, lost int) {
	c.t.Helper()
	_, hashes := c.held()
	live := 0
	for _, token := range c.Tokens() {
		if slices.Contains(hashes, token.Hash) {
			live++
		} else if !slices.Equal(slices.Sorted(mapsKeys(token.Permissions)), []string{"metadata"}) {
			lost--
		}
	}
	if live != delivered || len(hashes) != delivered || lost < 0 {
		c.t.Errorf("%d tokens are live in the store, want %d; %d more are live than may be lost", live, delivered, -lost)
	}
}

func mapsKeys(m fakegithub.Permissions) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func profileOf(t *testing.T, repositories string) *profile.Profile {
	t.Helper()
	p, err := profile.Parse([]byte(spec("      allowedRepos: [" + repositories + "]\n      allowedRefs: [main]\n")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func spec(github string) string {
	return "spec:\n  sourceAccess:\n    github:\n" + github
}

package doctor

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

// A world is a GitHub with an App that is installed on acme, a store that has it, and
// two workspaces with fresh tokens.
type world struct {
	*fakegithub.Server
	t     *testing.T
	app   fakegithub.App
	store store.Store
	dir   string
	ahead time.Duration // of this machine's clock
	check *Checkup
}

func newPEM(index int) (text string, public *rsa.PublicKey) {
	key := testkey.RSA(2048, index)
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})), &key.PublicKey
}

var (
	appKey, appPublic = newPEM(0)
	otherKey, _       = newPEM(1)
)

func newWorld(t *testing.T) *world { return newWorldWithLimit(t, 0) }

// newWorldWithLimit has a GitHub with a limit of requests per hour.
func newWorldWithLimit(t *testing.T, limit int) *world {
	t.Helper()
	w := newBareWorld(t, limit)
	credentials := issuing.Credentials{ID: w.app.ClientID, PrivateKey: store.NewSecret(appKey), GitHub: "https://github.test"}
	w.must(issuing.Save(t.Context(), w.store, credentials, store.CreateOnly))
	w.install("acme", 11)
	for _, id := range []string{"sb-1", "sb-2"} {
		w.must(w.create(id, "acme/widgets"))
	}
	w.ResetRequests()
	return w
}

// newBareWorld has nothing set up.
func newBareWorld(t *testing.T, limit int) *world {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, Root: t.TempDir(), RateLimit: limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w := &world{Server: gh, t: t, dir: filepath.Join(t.TempDir(), "store")}
	w.app, err = gh.AddApp(fakegithub.App{
		Slug: "sandbox-pass", Name: "Sandbox Pass", Owner: "acme", Keys: []*rsa.PublicKey{appPublic}, Permissions: fakegithub.Permissions{"contents": "write"},
	})
	w.must(err)
	w.store, err = issuing.OpenStore("file://" + w.dir)
	w.must(err)
	w.check = &Checkup{
		Store: w.store, StoreURL: "file://" + w.dir, Folder: w.dir, Client: &http.Client{Transport: gh.Transport()},
		Now: func() time.Time { return time.Now().Add(w.ahead) },
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// install adds an account and its repository "widgets" to GitHub and the store.
func (w *world) install(login string, id int64) {
	w.t.Helper()
	_, err := w.AddRepository(fakegithub.Repository{Owner: login, Name: "widgets"})
	w.must(err)
	_, err = w.AddInstallation(fakegithub.Installation{ID: id, AppID: w.app.ID, Account: login, AccountType: fakegithub.Organization, RepositorySelection: "all"})
	w.must(err)
	_, err = issuing.Discover(w.t.Context(), w.store, w.issuer().App, issuing.Changes{})
	w.must(err)
}

// issuer returns an Issuer as other commands of the issuing side use it.
func (w *world) issuer() *workspace.Issuer {
	w.t.Helper()
	i, app, err := issuing.NewIssuer(w.t.Context(), w.store, "")
	w.must(err)
	app.Client, app.Now, i.Now = &http.Client{Transport: w.Transport()}, w.check.Now, w.check.Now
	return i
}

func (w *world) create(id, repositories string) error {
	w.t.Helper()
	p, err := profile.Parse([]byte("spec: {sourceAccess: {github: {allowedRepos: [" + repositories + "], permissions: [clone]}}}"))
	w.must(err)
	_, err = w.issuer().Create(w.t.Context(), id, p, 0)
	return err
}

// put writes an entry, as another program would.
func (w *world) put(text, value string) {
	w.t.Helper()
	name, err := store.ParseName(text)
	w.must(err)
	w.must(w.store.Put(w.t.Context(), name, store.NewSecret(value), store.Replace))
}

// token returns a token that GitHub minted for another program.
func (w *world) token() string {
	w.t.Helper()
	token, err := w.MintFor(11, nil, nil)
	w.must(err)
	return token
}

// entries returns the store's content.
func (w *world) entries() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for name, err := range w.store.List(w.t.Context(), store.Everything()) {
		w.must(err)
		e, err := w.store.Get(w.t.Context(), name)
		w.must(err)
		all[name.String()] = e.Value.Reveal()
	}
	return all
}

// of returns the names of a workspace's entries.
func (w *world) of(id string) []string {
	w.t.Helper()
	var names []string
	for name := range w.entries() {
		if rest, ok := strings.CutPrefix(name, "sandbox/"+id+"/"); ok {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names
}

// look runs Look, and checks that it changes nothing.
func (w *world) look() Report {
	w.t.Helper()
	before := w.entries()
	r := w.check.Look(w.t.Context())
	if !maps.Equal(w.entries(), before) {
		w.t.Error("Look changed the store")
	}
	if n := w.Count(func(r fakegithub.Request) bool { return r.Method != http.MethodGet }); n > 0 {
		w.t.Errorf("Look asked GitHub for %d changes, want none", n)
	}
	for _, f := range r.All() {
		if f.Group == "" || strings.Contains(f.Text+f.Fix, "ghs_") || strings.Contains(f.Text+f.Fix, "PRIVATE") {
			w.t.Errorf("%+v has no group, or shows a secret", f)
		}
	}
	return r
}

// faults returns the findings that are not in order.
func faults(all []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f Finding) bool { return f.Level == OK })
}

func line(f Finding) string {
	return f.Group + ": " + string(f.Level) + ": " + f.Text + "; " + f.Fix
}

func lines(all []Finding) string {
	var b strings.Builder
	for _, f := range all {
		b.WriteString(line(f) + "\n")
	}
	return b.String()
}

// A parameterStore claims to be in AWS, with these workspaces.
type parameterStore struct {
	store.Store
	workspaces string
	isPlain    bool // nothing is encrypted
}

func (p parameterStore) Parameter(name store.Name) string { return p.workspaces + "/" + name.String() }

func (p parameterStore) IsEncrypted(ctx context.Context, name store.Name) (bool, error) {
	_, err := p.Get(ctx, name)
	return !p.isPlain, err
}

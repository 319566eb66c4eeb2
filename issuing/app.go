package issuing

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// GitHubVariable is the environment variable that names the GitHub if no option does.
const GitHubVariable = "GATEPASS_GITHUB_URL"

// notSetUp is the hint for a store without an App.
const notSetUp = "run gatepass app create, or gatepass app add"

// An App is the GitHub App of a store, ready to mint.
type App struct {
	*mint.App
	Key    Signer
	GitHub string // its URL for people: https://github.com
}

// LoadApp reads the App of a store. github is the value of the option or the variable;
// "" means the store's, else github.com. It does not ask GitHub.
//
// Its error wraps [store.ErrNotFound] if no App is set up.
func LoadApp(ctx context.Context, s store.Store, github string) (*App, error) {
	id, err := LoadID(ctx, s)
	if err != nil {
		return nil, err
	}
	if github, err = GitHub(ctx, s, github); err != nil {
		return nil, err
	}
	key, err := LoadKey(ctx, s)
	if err != nil {
		return nil, err
	}
	return NewApp(id, key, github)
}

// NewApp returns an App that need not be in a store. github is its URL for people.
func NewApp(id string, key Signer, github string) (*App, error) {
	api, err := mint.APIURL(github)
	if err != nil {
		return nil, usererr.Wrap("GitHub at "+github, err, "")
	}
	return &App{App: &mint.App{ID: id, Signer: key, URL: api}, Key: key, GitHub: github}, nil
}

// LoadID reads the client ID, or App ID, of a store's App. Its error wraps
// [store.ErrNotFound] if no App is set up.
func LoadID(ctx context.Context, s store.Store) (string, error) {
	id, err := Text(ctx, s, store.AppClientID())
	if errors.Is(err, store.ErrNotFound) {
		return "", &usererr.Error{Op: "load the GitHub App", Reason: "this store has no App", Hint: notSetUp, Err: err}
	}
	return id, err
}

// GitHub returns the GitHub of a store's App: named, else the store's, else github.com.
func GitHub(ctx context.Context, s store.Store, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	kept, err := Text(ctx, s, store.GitHubURL())
	if errors.Is(err, store.ErrNotFound) {
		return mint.DefaultGitHub, nil
	}
	return kept, err
}

// LoadKey opens the App's key: the KMS key that the store names, else the private key
// in the store. Its error wraps [store.ErrNotFound] if the store has neither.
func LoadKey(ctx context.Context, s store.Store) (Signer, error) {
	url, err := SignerURL(ctx, s)
	if err != nil {
		return nil, err
	}
	if url != "" {
		return OpenSigner(url)
	}
	entry, err := s.Get(ctx, store.PrivateKey())
	if errors.Is(err, store.ErrNotFound) {
		return nil, &usererr.Error{Op: "load the App's key", Reason: "the store has neither a private key nor the URL of a signer", Hint: notSetUp, Err: err}
	}
	if err != nil {
		return nil, err
	}
	key, err := mint.ParseKey([]byte(entry.Value.Reveal()))
	if err != nil {
		return nil, usererr.Wrap("read "+store.PrivateKey().String(), err, "set the App's key again: gatepass app rotate-key")
	}
	return key, nil
}

// SignerURL returns the URL of the KMS key that a store names; "" if it names none.
func SignerURL(ctx context.Context, s store.Store) (string, error) {
	url, err := Text(ctx, s, store.Signer())
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return url, err
}

// Text reads an entry that must be one line of text.
func Text(ctx context.Context, s store.Store, name store.Name) (string, error) {
	entry, err := s.Get(ctx, name)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(entry.Value.Reveal())
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return "", usererr.New("read "+name.String(), "it is not one line of text", "set the App up again: gatepass app add --force")
	}
	return text, nil
}

// NewIssuer makes an issuer for a store. If its App cannot be used, the issuer can
// still revoke, and says why it cannot mint. github is as for LoadApp.
func NewIssuer(ctx context.Context, s store.Store, github string) (*workspace.Issuer, *App, error) {
	return newIssuer(ctx, s, github, new(mint.Pool), loadUncached(s, github))
}

// A loadFunc opens one App of a store, by its name in the pool; "" is the first.
type loadFunc func(ctx context.Context, name string) (*App, error)

func newIssuer(ctx context.Context, s store.Store, github string, choice *mint.Pool, open loadFunc) (*workspace.Issuer, *App, error) {
	all, err := members(ctx, s, open)
	if err != nil {
		return nil, nil, err
	}
	bare := new(App)
	for _, m := range all {
		if m.Err == nil {
			continue
		}
		if bare, err = revokingApp(ctx, s, github); err != nil {
			return nil, nil, m.Err
		}
		break
	}
	app := all[0].App
	if app == nil {
		app = bare
	}
	issuer := &workspace.Issuer{App: app.App, Store: s, NotReady: all[0].Err}
	if len(all) > 1 {
		issuer.Pool = poolOf(all[1:], bare, choice)
	}
	return issuer, app, nil
}

// revokingApp returns an App that can revoke tokens and nothing else.
func revokingApp(ctx context.Context, s store.Store, github string) (*App, error) {
	github, err := GitHub(ctx, s, github)
	if err != nil {
		return nil, err
	}
	api, err := mint.APIURL(github)
	if err != nil {
		return nil, err
	}
	return &App{App: &mint.App{URL: api}, GitHub: github}, nil
}

// A Loader makes issuers for a long-running program. It reads the store each time.
// While the store's entries of an App are unchanged, the issuers share that App, with
// its signed JWT and GitHub's rate limit. A Loader must be used by one goroutine only.
type Loader struct {
	Store  store.Store
	GitHub string // as for LoadApp

	cachedApp                       // the first App
	others    map[string]*cachedApp // those of the pool
	choice    mint.Pool
}

// cachedApp is one App as it was last read.
type cachedApp struct {
	app   *App
	hash  [sha256.Size]byte // a hash of what app was made from
	known *mint.App         // the latest App, for what it learned from GitHub
}

// Issuer is [NewIssuer].
func (l *Loader) Issuer(ctx context.Context) (*workspace.Issuer, *App, error) {
	return newIssuer(ctx, l.Store, l.GitHub, &l.choice, l.open)
}

// open reads one App. If it is unchanged, it returns the earlier App.
func (l *Loader) open(ctx context.Context, name string) (*App, error) {
	at := l.cached(name)
	hashing := hashingStore{l.Store, sha256.New()}
	of, err := store.OfApp(hashing, name)
	if err != nil {
		return nil, err
	}
	app, err := LoadApp(ctx, of, l.GitHub)
	if err == nil {
		err = hashing.note(ctx, app)
	}
	if err != nil {
		at.app = nil
		return nil, err
	}
	hash := [sha256.Size]byte(hashing.sum.Sum(nil))
	if at.app == nil || at.hash != hash {
		app.Inherit(at.known)
		at.app, at.hash, at.known = app, hash, app.App
	}
	return at.app, nil
}

func (l *Loader) cached(name string) *cachedApp {
	if name == "" {
		return &l.cachedApp
	}
	if l.others == nil {
		l.others = map[string]*cachedApp{}
	}
	if l.others[name] == nil {
		l.others[name] = new(cachedApp)
	}
	return l.others[name]
}

// Forget makes the next Issuer read its Apps anew. Call it if GitHub refuses an App.
func (l *Loader) Forget() {
	l.app = nil
	for _, other := range l.others {
		other.app = nil
	}
}

// A hashingStore hashes what is read from a store. It holds only the hash.
type hashingStore struct {
	store.Store
	sum hash.Hash
}

// Get implements [store.Store].
func (h hashingStore) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	entry, err := h.Store.Get(ctx, name)
	fmt.Fprintf(h.sum, "%s %q\n", name, entry.Value.Reveal())
	return entry, err
}

// note adds a key to the hash that is in a file, not in the store.
func (h hashingStore) note(ctx context.Context, app *App) error {
	if _, ok := app.Key.(*mint.KeySigner); !ok {
		return nil // in a KMS, whose client itself notices changes
	}
	public, err := app.Key.PublicKey(ctx)
	if err == nil {
		fmt.Fprintln(h.sum, mint.Fingerprint(public))
	}
	return err
}

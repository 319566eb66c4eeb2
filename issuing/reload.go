package issuing

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// A Loader makes issuers for a long-running program. It reads the store each time.
// While the store's entries of an App are unchanged, the issuers share that App, with
// its signed JWT and GitHub's rate limit. A Loader must be used by one goroutine only.
type Loader struct {
	Store  store.Store
	GitHub string // as for LoadApp

	loaded                    // the first App
	others map[string]*loaded // those of the pool
	choice mint.Pool
}

// loaded is one App as it was last read.
type loaded struct {
	app   *App
	said  [sha256.Size]byte // a hash of what app was made from
	known *mint.App         // the latest App, for what it learned from GitHub
}

// Issuer is [NewIssuer].
func (l *Loader) Issuer(ctx context.Context) (*workspace.Issuer, *App, error) {
	return newIssuer(ctx, l.Store, l.GitHub, &l.choice, l.open)
}

// open reads one App. If it is unchanged, it returns the earlier App.
func (l *Loader) open(ctx context.Context, name string) (*App, error) {
	at := l.of(name)
	heard := listener{l.Store, sha256.New()}
	of, err := store.OfApp(heard, name)
	if err != nil {
		return nil, err
	}
	app, err := LoadApp(ctx, of, l.GitHub)
	if err == nil {
		err = heard.note(ctx, app)
	}
	if err != nil {
		at.app = nil
		return nil, err
	}
	said := [sha256.Size]byte(heard.sum.Sum(nil))
	if at.app == nil || at.said != said {
		app.Inherit(at.known)
		at.app, at.said, at.known = app, said, app.App
	}
	return at.app, nil
}

func (l *Loader) of(name string) *loaded {
	if name == "" {
		return &l.loaded
	}
	if l.others == nil {
		l.others = map[string]*loaded{}
	}
	if l.others[name] == nil {
		l.others[name] = new(loaded)
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

// A listener hashes what is read from a store. It holds nothing but the hash.
type listener struct {
	store.Store
	sum hash.Hash
}

// Get implements [store.Store].
func (h listener) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	entry, err := h.Store.Get(ctx, name)
	fmt.Fprintf(h.sum, "%s %q\n", name, entry.Value.Reveal())
	return entry, err
}

// note adds a key to the hash that is in a file, not in the store.
func (h listener) note(ctx context.Context, app *App) error {
	if _, ok := app.Key.(*mint.KeySigner); !ok {
		return nil // in a KMS, whose client itself notices changes
	}
	public, err := app.Key.PublicKey(ctx)
	if err == nil {
		fmt.Fprintln(h.sum, mint.Fingerprint(public))
	}
	return err
}

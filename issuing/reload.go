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

// A Loader makes issuers for a program that goes on working. What the store says
// is read anew each time. While it says the same of an App, the issuers share that App, with
// its signed JWT and what GitHub said about the rate limit. A Loader is for one
// goroutine.
type Loader struct {
	Store  store.Store
	GitHub string // as for LoadApp

	loaded                    // the first App
	others map[string]*loaded // those of the pool
	choice mint.Pool
}

// loaded is one App as it was read last.
type loaded struct {
	app   *App
	said  [sha256.Size]byte // what app was made of
	known *mint.App         // the latest one, for what it learned of GitHub
}

// Issuer is [NewIssuer].
func (l *Loader) Issuer(ctx context.Context) (*workspace.Issuer, *App, error) {
	return newIssuer(ctx, l.Store, l.GitHub, &l.choice, l.open)
}

// open reads one App, and returns the earlier one where that is the same.
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

// Forget has the next Issuer make its Apps anew: GitHub refuses one of those there are.
func (l *Loader) Forget() {
	l.app = nil
	for _, other := range l.others {
		other.app = nil
	}
}

// A listener notes what is read from a store, and keeps nothing but a digest.
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

// note adds a key that is in none of the store's entries, but in a file.
func (h listener) note(ctx context.Context, app *App) error {
	if _, ok := app.Key.(*mint.KeySigner); !ok {
		return nil // in a KMS, whose clients look themselves whether it has changed
	}
	public, err := app.Key.PublicKey(ctx)
	if err == nil {
		fmt.Fprintln(h.sum, mint.Fingerprint(public))
	}
	return err
}

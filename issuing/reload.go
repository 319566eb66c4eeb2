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
// is read anew each time. While it says the same, the issuers share one App, with
// its signed JWT and what GitHub said about the rate limit. A Loader is for one
// goroutine.
type Loader struct {
	Store  store.Store
	GitHub string // as for LoadApp

	app   *App
	said  [sha256.Size]byte // what app was made of
	known *mint.App         // the latest one, for what it learned of GitHub
}

// Issuer is [NewIssuer].
func (l *Loader) Issuer(ctx context.Context) (*workspace.Issuer, *App, error) {
	heard := listener{l.Store, sha256.New()}
	issuer, app, err := NewIssuer(ctx, heard, l.GitHub)
	if err != nil {
		return nil, nil, err
	}
	issuer.Store = l.Store
	if issuer.Unready != nil {
		l.app = nil
		return issuer, app, nil
	}
	if err := heard.note(ctx, app); err != nil {
		return nil, nil, err
	}
	said := [sha256.Size]byte(heard.sum.Sum(nil))
	if l.app == nil || l.said != said {
		app.Inherit(l.known)
		l.app, l.said, l.known = app, said, app.App
	}
	issuer.App = l.app.App
	return issuer, l.app, nil
}

// Forget has the next Issuer make its App anew: GitHub refuses the one there is.
func (l *Loader) Forget() { l.app = nil }

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

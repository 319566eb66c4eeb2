// Package apps has the GitHub Apps that Tokens name, ready to mint: their keys, the
// accounts they are installed on, and the pace at which each may ask GitHub.
//
// An App is either an object of kind App or the operator's own configuration. A key
// is read from where its provider keeps it and never from where an App's namespace
// leads: text of a Secret is a key and no path, and the name of a key in a KMS is no
// address. What a namespace may use is not decided here, but asked for before each use:
// see Permit of [Registry].
package apps

import (
	"context"
	"errors"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"

	"github.com/gatepass/gatepass/mint"
)

// A Ref names an App. The zero Ref is the operator's own configuration.
type Ref struct{ Namespace, Name string }

// IsDefault reports whether r is the operator's own configuration.
func (r Ref) IsDefault() bool { return r == Ref{} }

// String returns NAMESPACE/NAME, and "default" for the operator's own configuration.
// It is how a TenantPolicy names the App.
func (r Ref) String() string {
	if r.IsDefault() {
		return "default"
	}
	return r.Namespace + "/" + r.Name
}

// ProviderFile is where the operator's own configuration may have its key, beside the
// providers of objects: in a file.
const ProviderFile v1.Provider = "file"

// ErrNotFound reports that there is no such App.
var ErrNotFound = errors.New("there is no such App")

// NotReady reports that an App is there and cannot be used.
type NotReady struct {
	Reason     string        // of the condition Ready of the App: AppNotReady, KeyInvalid or NotPermitted
	Message    string        // why, and what to do; one line
	RetryAfter time.Duration // when it is worth another look; 0 is when the App changes
}

func (e *NotReady) Error() string { return e.Message }

// An App is ready to mint. It stays the same while the object and its key do, so that
// it signs one JWT in eight minutes. Its fields are not to be changed.
type App struct {
	*mint.App // with Once: nothing waits

	Ref            Ref
	InstallationID int64       // for tokens that name neither an installation nor an owner; 0 names no installation
	Provider       v1.Provider // or ProviderFile
	Key            string      // as the spec names it; "" for a key in a Secret
	GitHub         string      // as people know it: https://github.com
	Host           string      // of GitHub: github.com
	ValidateKey    bool

	// Pace names the App to a [Pacer]. Apps with one key are one App to GitHub and have
	// one Pace.
	Pace Ref

	entry    *entry
	accounts *accounts
	reasons  reasons
	self     memo[struct{}, mint.Registration]
}

// Mint is [mint.App.Mint], and asks GitHub once: [Registry.Why] finds out more about an
// error. An App whose key GitHub refuses has it read again.
func (a *App) Mint(ctx context.Context, g mint.Grant) (mint.Minted, error) {
	g.Owner = "" // with it, mint would look for the reason each time
	m, err := a.App.Mint(ctx, g)
	a.hear(err)
	if e, ok := errors.AsType[*mint.Error](err); ok && e.Kind == mint.NotInstalled {
		a.accounts.forget(g.Installation)
	}
	return m, err
}

// Self returns what GitHub has registered for the App, which proves the key. GitHub is
// asked once for each key.
func (a *App) Self(ctx context.Context) (mint.Registration, error) {
	self, err := a.self.get(struct{}{}, a.entry.now(), func(bool) (mint.Registration, time.Duration, error) {
		self, err := a.App.Self(ctx)
		return self, forever(err), err
	})
	a.hear(err)
	return self, err
}

// forever keeps a success and no failure.
func forever(err error) time.Duration {
	if err != nil {
		return 0
	}
	return 1<<63 - 1
}

// hear notes what GitHub thinks of the key.
func (a *App) hear(err error) {
	if err == nil {
		a.entry.accept(a)
	}
	if e, ok := errors.AsType[*mint.Error](err); ok && e.Kind == mint.BadKey {
		a.entry.refuse(a, e)
	}
}

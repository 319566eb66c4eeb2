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
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
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

// advice is what the reader of a condition can do about each kind of error.
var advice = map[mint.Kind]string{
	mint.Refused:      "see what the App may do there in its settings at GitHub",
	mint.BadKey:       "correct the App's id (appID or clientID), or give it a private key of that App",
	mint.Skewed:       "set the clock of the operator's node",
	mint.Suspended:    "have the installation unsuspended in the account's GitHub settings",
	mint.NotInstalled: "install the App on that account, or correct installationID or owner",
	mint.NotGranted:   "grant it to the App, and have an owner of the account approve it",
	mint.RateLimited:  "the operator goes on by itself",
	mint.Unavailable:  "the operator tries again by itself",
	mint.Renamed:      "write its new name",
	mint.Replaced:     "find out what became of the one that is meant, and then write the id of the one you mean",
	mint.NotListed:    "have an owner of the account add the operator's public address to its IP allow list",
	mint.BadToken:     "the operator tries again by itself",
}

// Explain returns what a condition says of an error, in one line that ends with what
// to do. The line is the same for the same failure: it has no time and no number of a
// request.
func (a *App) Explain(err error) string {
	e, ok := errors.AsType[*mint.Error](err)
	if !ok {
		return usererr.Escape(err.Error())
	}
	do := advice[e.Kind]
	if e.Kind == mint.NotGranted {
		do = cmp.Or(e.Advice(), do) // it names the page where that is done
	}
	text := e.Doing + ": " + strings.TrimSuffix(e.Why(), ".")
	if do != "" { // a signer's error says by itself what to do
		text += "; " + do
	}
	return usererr.Escape(text)
}

const (
	reasonLife  = 30 * time.Minute // a reason that was found is remembered for this
	mostReasons = 6                // looked for in a minute, of one App: each takes up to 20 of GitHub's points
)

// reasons are what [Registry.Why] found out about one App.
type reasons struct {
	known memo[string, string]
	budget
}

// Why is [App.Explain] for an error of [App.Mint], and says what GitHub does not: which
// repository or permission is not granted and where that is changed, who suspended the
// installation. GitHub is asked for that a few times a minute, so that a thousand
// Tokens that cannot be minted do not use up what others need.
func (r *Registry) Why(ctx context.Context, app *App, g mint.Grant, err error) string {
	plain := app.Explain(err)
	e, ok := errors.AsType[*mint.Error](err)
	if !ok || e.Kind != mint.NotGranted && e.Kind != mint.Suspended {
		return plain
	}
	why, _ := app.reasons.known.get(fmt.Sprint(e.Kind, g), r.now(), func(bool) (string, time.Duration, error) {
		if ok, _ := app.reasons.spend(1, r.now()); !ok {
			return plain, 0, nil
		}
		if found := r.lookFor(ctx, app, e, g); found != "" {
			return found, reasonLife, nil
		}
		return plain, reasonLife, nil
	})
	return why
}

// lookFor asks GitHub for the reason of a refusal; "" where it cannot be found.
func (r *Registry) lookFor(ctx context.Context, app *App, e *mint.Error, g mint.Grant) string {
	found, err := app.Installation(ctx, g.Installation)
	if err != nil {
		return ""
	}
	if e.Kind == mint.Suspended {
		if !found.Suspended() {
			return ""
		}
		by := ""
		if found.SuspendedBy.Login != "" {
			by = " by " + found.SuspendedBy.Login
		}
		return usererr.Escape(fmt.Sprintf("%s: the installation on %s was suspended on %s%s; %s", e.Doing, found.Account.Login, found.SuspendedAt.UTC().Format(time.DateOnly), by, advice[e.Kind]))
	}
	g.Owner = cmp.Or(g.Owner, found.Account.Login)
	if why := app.WhyNot(ctx, g); why != nil {
		return app.Explain(why)
	}
	return ""
}

// Package apps provides the GitHub Apps that Tokens name, ready to mint: their keys,
// the accounts they are installed on, and the rate at which each may ask GitHub.
//
// An App is either an object of kind App or the operator's own configuration. A key is
// read only from its provider; a tenant cannot redirect the read: the text of a Secret
// is a key and never a path, and the name of a key in a KMS is never an address. This
// package does not decide what a namespace may use; it asks before each use: see Permit
// of [Registry].
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

// String returns NAMESPACE/NAME, or "default" for the operator's own configuration. A
// TenantPolicy names the App in this form.
func (r Ref) String() string {
	if r.IsDefault() {
		return "default"
	}
	return r.Namespace + "/" + r.Name
}

// ProviderFile reads the key from a file. Only the operator's own configuration may use
// it.
const ProviderFile v1.Provider = "file"

// ErrNotFound reports that an App does not exist.
var ErrNotFound = errors.New("there is no such App")

// NotReady reports that an App exists but cannot be used.
type NotReady struct {
	Reason     string        // reason of the App's condition Ready: AppNotReady, KeyInvalid or NotPermitted
	Message    string        // why, and what to do; one line
	RetryAfter time.Duration // when to try again; 0 means when the App changes
}

func (e *NotReady) Error() string { return e.Message }

// An App is ready to mint. The registry returns the same App while the object and its
// key are unchanged, so that it signs one JWT in eight minutes. Callers must not change
// its fields.
type App struct {
	*mint.App // with Once set: it does not wait or retry

	Ref            Ref
	InstallationID int64       // for tokens that name neither an installation nor an owner; 0 means none
	Provider       v1.Provider // or ProviderFile
	Key            string      // as in the spec; "" for a key in a Secret
	GitHub         string      // address for people: https://github.com
	Host           string      // host of GitHub: github.com
	ValidateKey    bool

	// Pace names the App to a [Pacer]. GitHub counts Apps with the same key as one App,
	// so they share one Pace.
	Pace Ref

	entry    *entry
	accounts *accounts
	reasons  reasons
	self     memo[struct{}, mint.Registration]
}

// Mint is [mint.App.Mint] but asks GitHub only once; [Registry.Diagnose] finds the reason of
// an error. If GitHub refuses the App's key, the key is read again.
func (a *App) Mint(ctx context.Context, g mint.Grant) (mint.Minted, error) {
	g.Owner = "" // with Owner set, mint would look for the reason each time
	m, err := a.App.Mint(ctx, g)
	a.noteResult(err)
	if e, ok := errors.AsType[*mint.Error](err); ok && e.Kind == mint.NotInstalled {
		a.accounts.forget(g.Installation)
	}
	return m, err
}

// Self returns GitHub's registration of the App, which proves the key. GitHub is asked
// once for each key.
func (a *App) Self(ctx context.Context) (mint.Registration, error) {
	self, err := a.self.get(struct{}{}, a.entry.now(), func(bool) (mint.Registration, time.Duration, error) {
		self, err := a.App.Self(ctx)
		return self, lifeOfSelf(err), err
	})
	a.noteResult(err)
	return self, err
}

// lifeOfSelf caches a success and no failure.
func lifeOfSelf(err error) time.Duration {
	if err != nil {
		return 0
	}
	return 1<<63 - 1
}

// noteResult records whether GitHub accepts the key.
func (a *App) noteResult(err error) {
	if err == nil {
		a.entry.keyAccepted(a)
	}
	if e, ok := errors.AsType[*mint.Error](err); ok && e.Kind == mint.BadKey {
		a.entry.keyRefused(a, e)
	}
}

// advice tells the reader of a condition what to do about each kind of error.
var advice = map[mint.Kind]string{
	mint.Refused:      "check the App's permissions in its settings at GitHub",
	mint.BadKey:       "correct the App's ID (appID or clientID), or give it a private key of that App",
	mint.Skewed:       "set the clock of the operator's node",
	mint.Suspended:    "ask the account's owner to unsuspend the installation in its GitHub settings",
	mint.NotInstalled: "install the App on that account, or correct installationID or owner",
	mint.NotGranted:   "grant it to the App, and ask an owner of the account to approve it",
	mint.RateLimited:  "the operator tries again by itself",
	mint.Unavailable:  "the operator tries again by itself",
	mint.Renamed:      "write its new name",
	mint.Replaced:     "check what happened to the old repository, and write the ID of the right one",
	mint.NotListed:    "ask an owner of the account to add the operator's public address to its IP allow list",
	mint.BadToken:     "the operator tries again by itself",
}

// Explain returns an error as a condition shows it: one line that ends with what to do.
// The same failure gives the same line, because the line has no time and no request
// number.
func (a *App) Explain(err error) string {
	e, ok := errors.AsType[*mint.Error](err)
	if !ok {
		return usererr.Escape(err.Error())
	}
	do := advice[e.Kind]
	if e.Kind == mint.NotGranted {
		do = cmp.Or(e.Hint(), do) // it names the page to change it on
	}
	text := e.Op + ": " + strings.TrimSuffix(e.Reason(), ".")
	if do != "" { // a signer's error already says what to do
		text += "; " + do
	}
	return usererr.Escape(text)
}

const (
	reasonLife = 30 * time.Minute // how long a reason is cached
	maxReasons = 6                // lookups per minute and App: each takes up to 20 of GitHub's points
)

// reasons caches what [Registry.Diagnose] found out about one App.
type reasons struct {
	known memo[string, string]
	budget
}

// Diagnose is [App.Explain] for an error of [App.Mint], with details that GitHub leaves out:
// which repository or permission is not granted and where to change that, or who
// suspended the installation. It asks GitHub only a few times a minute, so that a
// thousand Tokens that cannot be minted do not use up the requests that others need.
func (r *Registry) Diagnose(ctx context.Context, app *App, g mint.Grant, err error) string {
	plain := app.Explain(err)
	e, ok := errors.AsType[*mint.Error](err)
	if !ok || e.Kind != mint.NotGranted && e.Kind != mint.Suspended {
		return plain
	}
	why, _ := app.reasons.known.get(fmt.Sprint(e.Kind, g), r.now(), func(bool) (string, time.Duration, error) {
		if ok, _ := app.reasons.spend(1, r.now()); !ok {
			return plain, 0, nil
		}
		if found := r.findReason(ctx, app, e, g); found != "" {
			return found, reasonLife, nil
		}
		return plain, reasonLife, nil
	})
	return why
}

// findReason asks GitHub for the reason of a refusal. It returns "" if it finds none.
func (r *Registry) findReason(ctx context.Context, app *App, e *mint.Error, g mint.Grant) string {
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
		return usererr.Escape(fmt.Sprintf("%s: the installation on %s was suspended on %s%s; %s", e.Op, found.Account.Login, found.SuspendedAt.UTC().Format(time.DateOnly), by, advice[e.Kind]))
	}
	g.Owner = cmp.Or(g.Owner, found.Account.Login)
	if why := app.ExplainRefusal(ctx, g); why != nil {
		return app.Explain(why)
	}
	return ""
}

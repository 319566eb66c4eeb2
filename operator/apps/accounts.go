package apps

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
)

const (
	accountLife = time.Hour   // renames and new installations are seen after this
	absentLife  = time.Minute // an account without an installation is asked for again after this
)

// mostLookups is how many accounts an App that are not known yet may ask GitHub for in a
// minute: tenants choose them, and what is left of GitHub's 900 points is for minting.
const mostLookups = 120

// accounts remember where an App is installed.
type accounts struct {
	byID    memo[int64, mint.Installation]
	byOwner memo[string, mint.Installation]
	budget  budget
}

func newAccounts() *accounts { return &accounts{budget: budget{most: mostLookups}} }

// Account returns the login of the account that an installation is on. It is remembered
// for an hour. The error is an [*mint.Error].
func (r *Registry) Account(ctx context.Context, app *App, installation int64) (login string, err error) {
	found, err := app.accounts.byID.get(installation, r.now(), func(isKnown bool) (mint.Installation, time.Duration, error) {
		doing := fmt.Sprintf("find installation %d", installation)
		return r.lookUp(app, doing, 1, isKnown, func() (mint.Installation, error) { return app.Installation(ctx, installation) })
	})
	return found.Account.Login, err
}

// InstallationOf returns the installation on an account. It is remembered for an hour,
// and for a minute that there is none. The error is an [*mint.Error].
func (r *Registry) InstallationOf(ctx context.Context, app *App, owner string) (mint.Installation, error) {
	return app.accounts.byOwner.get(gitname.Fold(owner), r.now(), func(isKnown bool) (mint.Installation, time.Duration, error) {
		doing := "find the installation on " + owner
		return r.lookUp(app, doing, 2, isKnown, func() (mint.Installation, error) { return app.App.InstallationOf(ctx, owner) })
	})
}

// lookUp asks GitHub, which takes so many requests. An account that was known once is
// always asked for again: of those there are not more than installations.
func (r *Registry) lookUp(app *App, doing string, requests int, isKnown bool, ask func() (mint.Installation, error)) (mint.Installation, time.Duration, error) {
	if !isKnown {
		if ok, wait := app.accounts.budget.spend(requests, r.now()); !ok {
			return mint.Installation{}, 0, &mint.Error{
				Kind: mint.RateLimited, Doing: doing, RetryAfter: wait + rand.N(time.Minute),
				Message: fmt.Sprintf("the operator asks GitHub for new accounts with %d requests a minute at most", mostLookups),
			}
		}
	}
	found, err := ask()
	app.hear(err)
	return found, lifeOf(err), err
}

// lifeOf says how long an answer is remembered.
func lifeOf(err error) time.Duration {
	if err == nil {
		return accountLife
	}
	if e, ok := errors.AsType[*mint.Error](err); ok && e.Kind == mint.NotInstalled {
		return absentLife
	}
	return 0
}

// forget an installation that is not there any more.
func (a *accounts) forget(installation int64) {
	a.byID.forget(installation)
	a.byOwner.mu.Lock()
	defer a.byOwner.mu.Unlock()
	for owner, known := range a.byOwner.answers {
		if known.mu.TryLock() { // else it is asked for right now
			if known.value.ID == installation {
				delete(a.byOwner.answers, owner)
			}
			known.mu.Unlock()
		}
	}
}

package apps

import (
	"context"
	"errors"
	"time"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
)

const (
	accountLife = time.Hour   // renames and new installations are seen after this
	absentLife  = time.Minute // an account without an installation is asked for again after this
)

// accounts remember where an App is installed.
type accounts struct {
	byID    memo[int64, mint.Installation]
	byOwner memo[string, mint.Installation]
}

// Account returns the login of the account that an installation is on. It is remembered
// for an hour. The error is an [*mint.Error].
func (r *Registry) Account(ctx context.Context, app *App, installation int64) (login string, err error) {
	found, err := app.accounts.byID.get(installation, r.now(), func() (mint.Installation, time.Duration, error) {
		found, err := app.Installation(ctx, installation)
		app.hear(err)
		return found, lifeOf(err), err
	})
	return found.Account.Login, err
}

// InstallationOf returns the installation on an account. It is remembered for an hour,
// and for a minute that there is none. The error is an [*mint.Error].
func (r *Registry) InstallationOf(ctx context.Context, app *App, owner string) (mint.Installation, error) {
	return app.accounts.byOwner.get(gitname.Fold(owner), r.now(), func() (mint.Installation, time.Duration, error) {
		found, err := app.App.InstallationOf(ctx, owner)
		app.hear(err)
		return found, lifeOf(err), err
	})
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

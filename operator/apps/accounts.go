package apps

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
)

const (
	accountLife = time.Hour   // renames and new installations are noticed after this
	absentLife  = time.Minute // an account without an installation is looked up again after this
)

// maxLookups is how many unknown accounts an App may look up at GitHub per minute.
// Tenants choose the accounts; the rest of GitHub's 900 points is for minting.
const maxLookups = 120

// accounts caches where an App is installed.
type accounts struct {
	byID    memo[int64, mint.Installation]
	byOwner memo[string, mint.Installation]
	budget  budget
}

func newAccounts() *accounts { return &accounts{budget: budget{max: maxLookups}} }

// Account returns the login of the account that an installation is on. It is cached for
// an hour. The error is an [*mint.Error].
func (r *Registry) Account(ctx context.Context, app *App, installation int64) (login string, err error) {
	found, err := app.accounts.byID.get(installation, r.now(), func(isKnown bool) (mint.Installation, time.Duration, error) {
		doing := fmt.Sprintf("find installation %d", installation)
		return r.lookUp(app, doing, 1, isKnown, func() (mint.Installation, error) { return app.Installation(ctx, installation) })
	})
	return found.Account.Login, err
}

// InstallationOf returns the installation on an account. It is cached for an hour; that
// an account has none is cached for a minute. The error is an [*mint.Error].
func (r *Registry) InstallationOf(ctx context.Context, app *App, owner string) (mint.Installation, error) {
	return app.accounts.byOwner.get(gitname.Fold(owner), r.now(), func(isKnown bool) (mint.Installation, time.Duration, error) {
		doing := "find the installation on " + owner
		return r.lookUp(app, doing, 2, isKnown, func() (mint.Installation, error) { return app.App.InstallationOf(ctx, owner) })
	})
}

// lookUp asks GitHub, at the cost of the given number of requests. An account that was
// known once is always looked up again: there are never more of those than
// installations.
func (r *Registry) lookUp(app *App, doing string, requests int, isKnown bool, ask func() (mint.Installation, error)) (mint.Installation, time.Duration, error) {
	if !isKnown {
		if ok, wait := app.accounts.budget.spend(requests, r.now()); !ok {
			return mint.Installation{}, 0, &mint.Error{
				Kind: mint.RateLimited, Op: doing, RetryAfter: wait + rand.N(time.Minute),
				Message: fmt.Sprintf("the operator asks GitHub about new accounts with at most %d requests a minute", maxLookups),
			}
		}
	}
	found, err := ask()
	app.noteResult(err)
	return found, lifeOf(err), err
}

// lifeOf returns how long an answer is cached.
func lifeOf(err error) time.Duration {
	if err == nil {
		return accountLife
	}
	if e, ok := errors.AsType[*mint.Error](err); ok && e.Kind == mint.NotInstalled {
		return absentLife
	}
	return 0
}

// forget removes an installation that no longer exists.
func (a *accounts) forget(installation int64) {
	a.byID.forget(installation)
	a.byOwner.mu.Lock()
	defer a.byOwner.mu.Unlock()
	for owner, known := range a.byOwner.answers {
		if known.mu.TryLock() { // if locked, it is being looked up right now
			if known.value.ID == installation {
				delete(a.byOwner.answers, owner)
			}
			known.mu.Unlock()
		}
	}
}

// maxAnswers bounds a memo, because tenants choose its questions. A full memo drops
// the answers without a value, and all answers if that is not enough.
const maxAnswers = 4096

// A memo caches answers, each for its own time, and asks each question only once at a
// time. The zero memo is empty.
type memo[K comparable, V any] struct {
	mu      sync.Mutex // guards answers
	answers map[K]*answer[V]
}

// An answer is a value or an error.
type answer[V any] struct {
	mu    sync.Mutex // guards the rest; held while the question is asked
	value V
	err   error
	at    time.Time // when it was given; zero means never
	life  time.Duration

	isKnown bool // it had a value at some time
}

// get returns the cached answer, and otherwise calls ask, which returns the value and
// how long to cache it. ask is told whether there was a value before.
func (m *memo[K, V]) get(key K, now time.Time, ask func(isKnown bool) (V, time.Duration, error)) (V, error) {
	a := m.answer(key)
	a.mu.Lock()
	defer a.mu.Unlock()
	if age := clock.Since(a.at, now); a.at.IsZero() || age < 0 || age >= a.life {
		a.value, a.life, a.err = ask(a.isKnown)
		a.at, a.isKnown = now, a.isKnown || a.err == nil
	}
	return a.value, a.err
}

func (m *memo[K, V]) answer(key K) *answer[V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil {
		m.answers = map[K]*answer[V]{}
	}
	if m.answers[key] == nil && len(m.answers) >= maxAnswers {
		m.shrink()
	}
	if m.answers[key] == nil {
		m.answers[key] = &answer[V]{}
	}
	return m.answers[key]
}

func (m *memo[K, V]) forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.answers, key)
}

// shrink makes room. Answers that are being asked for right now count as values.
func (m *memo[K, V]) shrink() {
	maps.DeleteFunc(m.answers, func(_ K, a *answer[V]) bool {
		if !a.mu.TryLock() {
			return false
		}
		defer a.mu.Unlock()
		return !a.isKnown
	})
	if len(m.answers) >= maxAnswers {
		clear(m.answers)
	}
}

// A budget allows a fixed number of uses per minute.
type budget struct {
	max int

	mu   sync.Mutex  // guards used
	used []time.Time // in the last minute, oldest first
}

// spend reports whether n more uses are allowed, and otherwise how long to wait.
func (b *budget) spend(n int, now time.Time) (ok bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.used) > 0 && clock.Since(b.used[0], now) >= time.Minute {
		b.used = b.used[1:]
	}
	if len(b.used)+n > b.max {
		return false, max(clock.Left(b.used[0].Add(time.Minute), now), time.Second)
	}
	for range n {
		b.used = append(b.used, now)
	}
	return true, 0
}

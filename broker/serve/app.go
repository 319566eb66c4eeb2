package serve

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

const (
	loadAgain  = 2 * time.Second  // after an attempt that failed
	loadWait   = 20 * time.Second // for the store and a KMS
	trustFresh = 10 * time.Second // how long a newly read App is not read again
)

// An app is the store's GitHub App. It is read when it is first needed, and again when
// GitHub no longer accepts its key. So the broker can start before the App is set up,
// and goes on when its key is rotated.
type app struct {
	name string // name in the pool; "" is the first App
	read func(context.Context) (*issuing.App, error)
	log  *slog.Logger

	latest *atomic.Pointer[mint.App]   // the App of all that was read last, for GitHub's clock
	own    atomic.Pointer[mint.App]    // this App as last read, for what GitHub has said about it
	usable atomic.Pointer[issuing.App] // same as app, for callers that must not wait while the store is read

	installed sync.Map // installation ids by account in lower case, from GitHub

	mu     sync.Mutex // guards the rest; held while the store is read, so that one read serves all
	app    *issuing.App
	loaded time.Time
	err    error // why the App cannot be used
	tried  time.Time
}

// get returns the App, or a refusal if it cannot be used.
func (a *app) get(ctx context.Context) (*issuing.App, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.app == nil && time.Since(a.tried) >= loadAgain {
		a.load(ctx)
	}
	if a.app == nil {
		return nil, noApp(a.err)
	}
	return a.app, nil
}

// noApp returns the refusal of a request that needs an App.
func noApp(why error) error {
	return &broker.Refusal{
		Status: http.StatusServiceUnavailable, Reason: broker.ReasonGitHub, RetryAfter: loadAgain, Err: why,
		Detail: "the broker has no usable GitHub App; its operator must check the broker's log",
	}
}

// refusal returns why the App cannot be used. It does not wait for a read.
func (a *app) refusal() error {
	if !a.mu.TryLock() {
		return noApp(errUnread) // it is being read now
	}
	defer a.mu.Unlock()
	return noApp(a.err)
}

// displayName returns the App's name for people.
func (a *app) displayName() string { return cmp.Or(a.name, store.FirstApp) }

// remember remembers GitHub's answer about an installation.
func (a *app) remember(i mint.Installation, err error) {
	a.rereadIfRejected(err)
	if err == nil {
		a.installed.Store(strings.ToLower(i.Account.Login), i.ID)
	}
}

// installationOn returns the App's installation on an account; 0 if not known yet.
func (a *app) installationOn(owner string) int64 {
	id, _ := a.installed.Load(strings.ToLower(owner))
	known, _ := id.(int64)
	return known
}

// load reads the App, and makes its key sign once. The caller holds mu.
func (a *app) load(ctx context.Context) {
	defer func() { a.tried = time.Now() }()
	was := a.err
	got, err := a.readTested(ctx)
	if err != nil {
		a.err = err
		if was == nil || was.Error() != err.Error() {
			a.log.Error("the GitHub App cannot be used", "error", err.Error())
		}
		return
	}
	a.use(got)
}

// use puts an App into use. The caller holds mu.
func (a *app) use(got *issuing.App) {
	got.Inherit(a.latest.Load())
	got.Inherit(a.own.Load())
	a.latest.Store(got.App)
	a.own.Store(got.App)
	a.usable.Store(got)
	a.app, a.err, a.loaded = got, nil, time.Now()
	a.log.Info("the GitHub App is loaded", "app", got.ID, "github", got.GitHub)
}

func (a *app) readTested(ctx context.Context) (*issuing.App, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadWait)
	defer cancel()
	got, err := a.read(ctx)
	if err == nil {
		err = tryKey(ctx, got)
	}
	return got, err
}

// tryKey makes the key sign something that is not a JWT.
func tryKey(ctx context.Context, a *issuing.App) error {
	public, err := a.Key.PublicKey(ctx)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte("gatepass-broker checks that the App's key can sign"))
	signature, err := a.Signer.Sign(ctx, digest)
	if err != nil {
		return err
	}
	return mint.CheckSignature(public, digest, signature)
}

// rereadIfRejected makes the next get read the App again if GitHub does not accept its key,
// because the key may have been rotated.
func (a *app) rereadIfRejected(err error) {
	e, ok := errors.AsType[*mint.Error](err)
	if !ok || e.Kind != mint.BadKey && e.Kind != mint.Unsigned {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.loaded) > trustFresh {
		a.app, a.err, a.tried = nil, err, time.Time{}
		a.usable.Store(nil)
	}
}

// renew reads the App again. Until that succeeds, the current one stays in use.
func (a *app) renew(ctx context.Context) {
	got, err := a.readTested(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.use(got)
	case a.app != nil:
		a.log.Error("the GitHub App cannot be read again; the broker keeps the one it has", "error", err.Error())
	default:
		a.tried = time.Time{}
	}
}

// maxQueue is the longest pause by GitHub that workspaces wait for. If it is longer,
// they are told at once when to retry.
const maxQueue = 2 * time.Second

// forRequest returns the App for a request to GitHub, or the rate limit that blocks it.
func (a *app) forRequest(ctx context.Context) (*issuing.App, error) {
	app, err := a.get(ctx)
	if err != nil {
		return nil, err
	}
	if limit := app.Paused(); limit != nil && limit.RetryAfter > maxQueue {
		return nil, limit
	}
	return app, nil
}

// InstallationFor implements [broker.Minter].
func (a *app) InstallationFor(ctx context.Context, owner, name string) (mint.Installation, error) {
	app, err := a.forRequest(ctx)
	if err != nil {
		return mint.Installation{}, err
	}
	i, err := app.InstallationFor(ctx, owner, name)
	a.rereadIfRejected(err)
	return i, err
}

// InstallationForID implements [broker.Minter].
func (a *app) InstallationForID(ctx context.Context, repository int64) (mint.Installation, error) {
	app, err := a.forRequest(ctx)
	if err != nil {
		return mint.Installation{}, err
	}
	i, err := app.InstallationForID(ctx, repository)
	a.rereadIfRejected(err)
	return i, err
}

// Mint implements [broker.Minter].
func (a *app) Mint(ctx context.Context, g mint.Grant) (mint.Minted, error) {
	app, err := a.forRequest(ctx)
	if err != nil {
		return mint.Minted{}, err
	}
	m, err := app.Mint(ctx, g)
	a.rereadIfRejected(err)
	return m, err
}

// Revoke implements [broker.GitHub].
func (a *app) Revoke(ctx context.Context, t credential.Token) error {
	app, err := a.get(ctx)
	if err != nil {
		return err
	}
	return app.Revoke(ctx, t)
}

// Accepts implements [broker.GitHub].
func (a *app) Accepts(ctx context.Context, t credential.Token) (bool, error) {
	app, err := a.get(ctx)
	if err != nil {
		return false, err
	}
	return app.Accepts(ctx, t)
}

// Rate implements [broker.GitHub]. It does not wait while the App is read, because its
// caller holds a mutex that every request needs.
func (a *app) Rate() (mint.Rate, bool) {
	app := a.own.Load()
	if app == nil {
		return mint.Rate{}, false
	}
	return app.Rate()
}

// problem returns why the App cannot be used; nil if it can.
func (a *app) problem() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.app == nil && a.err == nil {
		return errUnread
	}
	return a.err
}

// clockEvery is how often the clock is checked. If no other request goes to GitHub, it
// is asked for the time once a minute.
const clockEvery = 5 * time.Second

// tokenTime returns the time by GitHub's clock, or this machine's while that is
// unknown.
func (a *app) tokenTime() (now time.Time, isKnown bool) {
	app := a.latest.Load()
	if app == nil {
		return time.Now(), false
	}
	_, isKnown = app.Ahead()
	return app.Time(), isKnown
}

// time is tokenTime without isKnown.
func (a *app) time() time.Time {
	now, _ := a.tokenTime()
	return now
}

// maxUncertainty is how far off a clock may be that was never compared with GitHub's.
const maxUncertainty = 24 * time.Hour

// earliest returns the earliest time that it can be. While GitHub's clock is unknown,
// no live token counts as expired.
func (a *app) earliest() time.Time {
	now, isKnown := a.tokenTime()
	if !isKnown {
		now = now.Add(-maxUncertainty)
	}
	return now
}

// clockProblem returns how far this machine's clock is off GitHub's; "" if it is right.
func (a *app) clockProblem() string {
	app := a.latest.Load()
	if app == nil {
		return ""
	}
	return app.ClockProblem()
}

// watchClock keeps GitHub's clock up to date, and logs when this machine's is off.
func (d *daemon) watchClock(ctx context.Context) {
	was := ""
	every(ctx, clockEvery, func() {
		if app := d.app.latest.Load(); app != nil {
			_ = app.Sync(ctx) // on an error, the next round asks again
		}
		problem := d.app.clockProblem()
		if problem != was && problem != "" {
			d.log.Warn("the clock is wrong; the broker uses GitHub's clock for tokens", "clock", problem)
		}
		was = problem
	})
}

// clockAhead returns how many seconds this machine's clock is ahead of GitHub's.
func (d *daemon) clockAhead() float64 {
	app := d.app.latest.Load()
	if app == nil {
		return 0
	}
	ahead, _ := app.Ahead()
	return ahead.Seconds()
}

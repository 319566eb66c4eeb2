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
	loadWait   = 20 * time.Second // for a store and a KMS
	trustFresh = 10 * time.Second // how long an App that was just read is not read again
)

// An app is the GitHub App of the store. It is read when it is needed and is not
// there yet, and again when GitHub does not take its key any more: the broker
// starts before somebody has set the App up, and lives on when its key is
// rotated.
type app struct {
	name string // in the pool; "" is the first
	read func(context.Context) (*issuing.App, error)
	log  *slog.Logger

	latest *atomic.Pointer[mint.App]   // the App that was opened last, of all, for GitHub's clock
	own    atomic.Pointer[mint.App]    // and of this one, for what GitHub said of it
	usable atomic.Pointer[issuing.App] // app, for who does not wait while the store is read

	installed sync.Map // ids of installations by account in lower case, as GitHub said

	mu     sync.Mutex // guards the rest; held while the store is read, so that one reads for all
	app    *issuing.App
	loaded time.Time
	err    error // why there is none
	tried  time.Time
}

// get returns the App, or a refusal.
func (a *app) get(ctx context.Context) (*issuing.App, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.app == nil && time.Since(a.tried) >= loadAgain {
		a.load(ctx)
	}
	if a.app == nil {
		return nil, unusable(a.err)
	}
	return a.app, nil
}

// unusable refuses what needs an App.
func unusable(why error) error {
	return &broker.Refusal{
		Status: http.StatusServiceUnavailable, Reason: broker.ReasonGitHub, RetryAfter: loadAgain, Err: why,
		Detail: "the broker has no GitHub App that it can use; its operator has to look",
	}
}

// refusal is why the App cannot be used, for a caller that knows that it cannot.
func (a *app) refusal() error {
	if !a.mu.TryLock() {
		return unusable(errUnread) // it is being read
	}
	defer a.mu.Unlock()
	return unusable(a.err)
}

// called is what people call the App.
func (a *app) called() string { return cmp.Or(a.name, store.FirstApp) }

// learn takes note of what GitHub said of an installation.
func (a *app) learn(i mint.Installation, err error) {
	a.doubt(err)
	if err == nil {
		a.installed.Store(strings.ToLower(i.Account.Login), i.ID)
	}
}

// installationOn is the App's on an account; 0 where GitHub did not say yet.
func (a *app) installationOn(owner string) int64 {
	id, _ := a.installed.Load(strings.ToLower(owner))
	known, _ := id.(int64)
	return known
}

// load reads the App, and has its key sign once. The caller holds mu.
func (a *app) load(ctx context.Context) {
	defer func() { a.tried = time.Now() }()
	was := a.err
	got, err := a.readProved(ctx)
	if err != nil {
		a.err = err
		if was == nil || was.Error() != err.Error() {
			a.log.Error("the GitHub App cannot be used", "error", err.Error())
		}
		return
	}
	a.take(got)
}

// take has an App be used. The caller holds mu.
func (a *app) take(got *issuing.App) {
	got.Inherit(a.latest.Load())
	got.Inherit(a.own.Load())
	a.latest.Store(got.App)
	a.own.Store(got.App)
	a.usable.Store(got)
	a.app, a.err, a.loaded = got, nil, time.Now()
	a.log.Info("the GitHub App is loaded", "app", got.ID, "github", got.GitHub)
}

func (a *app) readProved(ctx context.Context) (*issuing.App, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadWait)
	defer cancel()
	got, err := a.read(ctx)
	if err == nil {
		err = prove(ctx, got)
	}
	return got, err
}

// prove has the key sign something that is no JWT.
func prove(ctx context.Context, a *issuing.App) error {
	public, err := a.Key.PublicKey(ctx)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte("gatepass-broker looks whether the App's key signs"))
	signature, err := a.Signer.Sign(ctx, digest)
	if err != nil {
		return err
	}
	return mint.CheckSignature(public, digest, signature)
}

// doubt has the App read again where GitHub does not know its key: it may have
// been rotated.
func (a *app) doubt(err error) {
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

// renew reads the App again. Until that is done, and where it cannot be, the one
// that there is stays in use.
func (a *app) renew(ctx context.Context) {
	got, err := a.readProved(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.take(got)
	case a.app != nil:
		a.log.Error("the GitHub App cannot be read again, and stays as it was", "error", err.Error())
	default:
		a.tried = time.Time{}
	}
}

// maxQueue is for how long workspaces wait together when GitHub asks for a pause. With
// a longer one they are told at once when to come back.
const maxQueue = 2 * time.Second

// asking returns the App to ask GitHub with.
func (a *app) asking(ctx context.Context) (*issuing.App, error) {
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
	app, err := a.asking(ctx)
	if err != nil {
		return mint.Installation{}, err
	}
	i, err := app.InstallationFor(ctx, owner, name)
	a.doubt(err)
	return i, err
}

// InstallationForID implements [broker.Minter].
func (a *app) InstallationForID(ctx context.Context, repository int64) (mint.Installation, error) {
	app, err := a.asking(ctx)
	if err != nil {
		return mint.Installation{}, err
	}
	i, err := app.InstallationForID(ctx, repository)
	a.doubt(err)
	return i, err
}

// Mint implements [broker.Minter].
func (a *app) Mint(ctx context.Context, g mint.Grant) (mint.Minted, error) {
	app, err := a.asking(ctx)
	if err != nil {
		return mint.Minted{}, err
	}
	m, err := app.Mint(ctx, g)
	a.doubt(err)
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

// Rate implements [broker.GitHub]. It does not wait while the App is read: it is called
// under a mutex that every request waits for.
func (a *app) Rate() (mint.Rate, bool) {
	app := a.own.Load()
	if app == nil {
		return mint.Rate{}, false
	}
	return app.Rate()
}

// problem is why there is no App; nil where there is one.
func (a *app) problem() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.app == nil && a.err == nil {
		return errUnread
	}
	return a.err
}

// clockEvery is how often the clock is looked at. GitHub is asked for the time once a
// minute where it is not asked for anything else.
const clockEvery = 5 * time.Second

// tokenTime is GitHub's clock, and this machine's before GitHub told it.
func (a *app) tokenTime() (now time.Time, isKnown bool) {
	app := a.latest.Load()
	if app == nil {
		return time.Now(), false
	}
	_, isKnown = app.Ahead()
	return app.Time(), isKnown
}

// time is tokenTime for what need not know whether it is known.
func (a *app) time() time.Time {
	now, _ := a.tokenTime()
	return now
}

// maxDoubt is what a clock is taken to be off that was never compared with GitHub's.
const maxDoubt = 24 * time.Hour

// earliest is the earliest that it may be: while GitHub's clock is not known, no token that
// may be alive passes for an expired one.
func (a *app) earliest() time.Time {
	now, isKnown := a.tokenTime()
	if !isKnown {
		now = now.Add(-maxDoubt)
	}
	return now
}

// clockProblem says how far this machine's clock is off GitHub's; "" where it is right.
func (a *app) clockProblem() string {
	app := a.latest.Load()
	if app == nil {
		return ""
	}
	return app.ClockProblem()
}

// watchClock learns GitHub's clock, and says in the log when this machine's is off.
func (d *daemon) watchClock(ctx context.Context) {
	was := ""
	every(ctx, clockEvery, func() {
		if app := d.app.latest.Load(); app != nil {
			_ = app.Sync(ctx) // without an answer the next look asks again
		}
		problem := d.app.clockProblem()
		if problem != was && problem != "" {
			d.log.Warn("the clock is off; tokens are read by GitHub's", "clock", problem)
		}
		was = problem
	})
}

// clockAhead is how far this machine's clock is ahead of GitHub's, in seconds.
func (d *daemon) clockAhead() float64 {
	app := d.app.latest.Load()
	if app == nil {
		return 0
	}
	ahead, _ := app.Ahead()
	return ahead.Seconds()
}

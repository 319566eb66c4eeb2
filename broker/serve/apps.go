package serve

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/console"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// poolEvery is how often the list of Apps in the pool is read.
const poolEvery = time.Minute

// apps are all Apps of the store: the first, which is embedded, and those of the pool.
// With only one App, it behaves like that App.
type apps struct {
	*app
	mint.Pool // distributes mints among the Apps

	store  store.Store
	github string
	log    *slog.Logger
	client *http.Client // for GitHub; nil means mint's own

	// others are the Apps of the pool; each has been opened, or tried. It is nil until
	// the store's list was read. Readers do not wait for the store.
	others atomic.Pointer[[]*app]

	mu     sync.Mutex // guards looked; held during calls of the store, so that one call serves all
	readAt time.Time  // when the list was read
}

// newApps returns the Apps of a store. It reads nothing.
func newApps(s store.Store, github string, log *slog.Logger) *apps {
	a := &apps{store: s, github: github, log: log}
	a.app = a.open("", new(atomic.Pointer[mint.App]))
	return a
}

func (a *apps) open(name string, latest *atomic.Pointer[mint.App]) *app {
	log := a.log
	if name != "" {
		log = log.With("pool", name)
	}
	return &app{name: name, log: log, latest: latest, read: func(ctx context.Context) (*issuing.App, error) {
		of, err := store.OfApp(a.store, name)
		if err != nil {
			return nil, err
		}
		got, err := issuing.LoadApp(ctx, of, a.github)
		if err == nil {
			got.Client = a.client
		}
		return got, err
	}}
}

// all returns the Apps, the first one first.
func (a *apps) all() []*app {
	all := []*app{a.app}
	if others := a.others.Load(); others != nil {
		all = append(all, *others...)
	}
	return all
}

// refresh reads which Apps are in the pool, at most once a minute. It opens new ones
// before it adds them, so that their turns do not go to another App.
func (a *apps) refresh(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.readAt.IsZero() && time.Since(a.readAt) < poolEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	names, err := store.PoolApps(ctx, a.store)
	if err != nil {
		a.log.Error("the list of Apps in the pool cannot be read; the broker keeps the list it has", "error", err.Error())
		return
	}
	var now []*app
	for _, name := range names {
		all := a.all()
		if at := slices.IndexFunc(all, func(one *app) bool { return one.name == name }); at >= 0 {
			now = append(now, all[at])
			continue
		}
		joins := a.open(name, a.latest)
		_, _ = joins.get(ctx) // an error is in the log
		now = append(now, joins)
	}
	a.tellLeft(now)
	a.others.Store(&now)
	a.readAt = time.Now()
}

// tellLeft logs which Apps have left the pool.
func (a *apps) tellLeft(now []*app) {
	for _, one := range a.all()[1:] {
		if !slices.Contains(now, one) {
			a.log.Warn("an App has left the pool, and others mint in its place; they cannot update the check runs that it made", "pool", one.name)
		}
	}
}

// find opens the Apps that are not open yet.
func (a *apps) find(ctx context.Context) {
	a.refresh(ctx)
	for _, one := range a.all() {
		_, _ = one.get(ctx) // an error is in the log and at /readyz
	}
}

// renew reads all Apps again.
func (a *apps) renew(ctx context.Context) {
	a.mu.Lock()
	a.readAt = time.Time{}
	a.mu.Unlock()
	a.refresh(ctx)
	for _, one := range a.all() {
		one.renew(ctx)
	}
}

// problem returns why no App can be used; nil if one can.
func (a *apps) problem() error {
	for _, one := range a.all() {
		if one.usable.Load() != nil {
			return nil
		}
	}
	return a.app.problem()
}

// any returns an App that can be used, for what every App can do.
func (a *apps) any(ctx context.Context) (*issuing.App, error) {
	for _, one := range a.all() {
		if is := one.usable.Load(); is != nil {
			return is, nil
		}
	}
	return a.app.get(ctx)
}

// Revoke implements [broker.GitHub]. Any App can do it, because it needs no App's key.
func (a *apps) Revoke(ctx context.Context, t credential.Token) error {
	is, err := a.any(ctx)
	if err != nil {
		return err
	}
	return is.Revoke(ctx, t)
}

// Accepts implements [broker.GitHub]. Any App can ask, as for Revoke.
func (a *apps) Accepts(ctx context.Context, t credential.Token) (bool, error) {
	is, err := a.any(ctx)
	if err != nil {
		return false, err
	}
	return is.Accepts(ctx, t)
}

// Members implements [broker.Pooled].
func (a *apps) Members(ctx context.Context, owner string) []broker.Member {
	if a.others.Load() == nil {
		a.refresh(ctx)
	}
	all := a.all()
	if len(all) == 1 {
		return []broker.Member{{Minter: a.app}}
	}
	var members []broker.Member
	for _, one := range all {
		m := broker.Member{Candidate: mint.Candidate{Name: one.displayName()}}
		is := one.usable.Load()
		if is == nil {
			m.Err = one.refusal()
		} else {
			m.App, m.Installation, m.Minter = is.App, one.installationOn(owner), bound{one, is}
			if limit := is.Paused(); limit != nil && limit.RetryAfter > maxQueue {
				m.Err = limit
			}
		}
		members = append(members, m)
	}
	return members
}

// Candidates implements [broker.Pooled].
func (a *apps) Candidates(owner string) (seats []mint.Candidate) {
	for _, one := range a.all() {
		if is := one.usable.Load(); is != nil {
			seats = append(seats, mint.Candidate{App: is.App, Installation: one.installationOn(owner), Name: one.displayName()})
		}
	}
	return seats
}

// bound asks one App of a pool. It does not wait while the App is read again.
type bound struct {
	from *app
	is   *issuing.App
}

// InstallationFor implements [broker.Minter].
func (b bound) InstallationFor(ctx context.Context, owner, name string) (mint.Installation, error) {
	i, err := b.is.InstallationFor(ctx, owner, name)
	b.from.remember(i, err)
	return i, err
}

// InstallationForID implements [broker.Minter].
func (b bound) InstallationForID(ctx context.Context, repository int64) (mint.Installation, error) {
	i, err := b.is.InstallationForID(ctx, repository)
	b.from.remember(i, err)
	return i, err
}

// Mint implements [broker.Minter].
func (b bound) Mint(ctx context.Context, g mint.Grant) (mint.Minted, error) {
	m, err := b.is.Mint(ctx, g)
	b.from.rereadIfRejected(err)
	return m, err
}

// InstallationFor implements [console.GitHub]. It returns the installation of the first
// App that has one.
func (a *apps) InstallationFor(ctx context.Context, owner, name string) (mint.Installation, error) {
	return firstInstalled(a.all(), func(one *app) (mint.Installation, error) { return one.InstallationFor(ctx, owner, name) })
}

// InstallationOf implements [console.GitHub]. It returns the installation of the first
// App that has one.
func (a *apps) InstallationOf(ctx context.Context, owner string) (mint.Installation, error) {
	return firstInstalled(a.all(), func(one *app) (mint.Installation, error) { return one.InstallationOf(ctx, owner) })
}

func firstInstalled(all []*app, ask func(*app) (mint.Installation, error)) (found mint.Installation, first error) {
	for _, one := range all {
		found, err := ask(one)
		if err == nil || !mint.IsAppSpecific(err) {
			return found, err
		}
		if first == nil {
			first = err
		}
	}
	return mint.Installation{}, first
}

// Apps implements [console.Pool].
func (a *apps) Apps() []console.App {
	var views []console.App
	for _, one := range a.all() {
		v := console.App{Name: one.displayName(), GitHub: one}
		if is := one.usable.Load(); is != nil {
			v.ClientID = is.ID
		} else {
			v.Problem = one.problem()
		}
		views = append(views, v)
	}
	return views
}

// Installations implements [console.GitHub]. It yields the installations of all Apps.
func (a *apps) Installations(ctx context.Context) iter.Seq2[mint.Installation, error] {
	return func(yield func(mint.Installation, error) bool) {
		for _, one := range a.all() {
			for i, err := range one.Installations(ctx) {
				if !yield(i, err) || err != nil {
					return
				}
			}
		}
	}
}

// errUnread reports that an App has not been read yet.
var errUnread = errors.New("it was not read yet")

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

// poolEvery is how often the store is asked which Apps are in the pool.
const poolEvery = time.Minute

// apps are all Apps of the store: the first, which is the embedded one, and those of the
// pool beside it. With one App it does what that does.
type apps struct {
	*app
	mint.Pool // shares mints out

	store  store.Store
	github string
	log    *slog.Logger
	client *http.Client // for GitHub; nil means mint's own

	// others are those of the pool, each opened once, or tried; nil before the store said
	// which they are. Who reads it does not wait for the store.
	others atomic.Pointer[[]*app]

	mu     sync.Mutex // guards looked; held while the store is asked, so that one asks for all
	looked time.Time  // when the store said so
}

// newApps makes the Apps of a store. Nothing is read yet.
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

// all are the Apps, the first one first.
func (a *apps) all() []*app {
	all := []*app{a.app}
	if others := a.others.Load(); others != nil {
		all = append(all, *others...)
	}
	return all
}

// look finds out which Apps are in the pool, where that was not done for a minute. New
// ones are opened first, so that a turn does not go to another App meanwhile.
func (a *apps) look(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.looked.IsZero() && time.Since(a.looked) < poolEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	names, err := store.PoolApps(ctx, a.store)
	if err != nil {
		a.log.Error("which Apps are in the pool cannot be read, and they stay as they were", "error", err.Error())
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
		_, _ = joins.get(ctx) // it is in the log
		now = append(now, joins)
	}
	a.others.Store(&now)
	a.looked = time.Now()
}

// find opens the Apps that are not open.
func (a *apps) find(ctx context.Context) {
	a.look(ctx)
	for _, one := range a.all() {
		_, _ = one.get(ctx) // it is in the log, and /readyz says so
	}
}

// renew reads all Apps again.
func (a *apps) renew(ctx context.Context) {
	a.mu.Lock()
	a.looked = time.Time{}
	a.mu.Unlock()
	a.look(ctx)
	for _, one := range a.all() {
		one.renew(ctx)
	}
}

// problem is why no App can be used; nil where one can.
func (a *apps) problem() error {
	for _, one := range a.all() {
		if one.usable.Load() != nil {
			return nil
		}
	}
	return a.app.problem()
}

// any is an App that can be used, for what each of them can do.
func (a *apps) any(ctx context.Context) (*issuing.App, error) {
	for _, one := range a.all() {
		if is := one.usable.Load(); is != nil {
			return is, nil
		}
	}
	return a.app.get(ctx)
}

// Revoke implements [broker.GitHub]. It needs no App's key.
func (a *apps) Revoke(ctx context.Context, t credential.Token) error {
	is, err := a.any(ctx)
	if err != nil {
		return err
	}
	return is.Revoke(ctx, t)
}

// Members implements [broker.Pooled].
func (a *apps) Members(ctx context.Context, owner string) []broker.Member {
	if a.others.Load() == nil {
		a.look(ctx)
	}
	all := a.all()
	if len(all) == 1 {
		return []broker.Member{{Minter: a.app}}
	}
	var members []broker.Member
	for _, one := range all {
		m := broker.Member{Seat: mint.Seat{Name: one.called()}}
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

// Seats implements [broker.Pooled].
func (a *apps) Seats(owner string) (seats []mint.Seat) {
	for _, one := range a.all() {
		if is := one.usable.Load(); is != nil {
			seats = append(seats, mint.Seat{App: is.App, Installation: one.installationOn(owner), Name: one.called()})
		}
	}
	return seats
}

// bound asks one App of a pool. It does not wait while that is read again.
type bound struct {
	from *app
	is   *issuing.App
}

// InstallationFor implements [broker.Minter].
func (b bound) InstallationFor(ctx context.Context, owner, name string) (mint.Installation, error) {
	i, err := b.is.InstallationFor(ctx, owner, name)
	b.from.learn(i, err)
	return i, err
}

// InstallationForID implements [broker.Minter].
func (b bound) InstallationForID(ctx context.Context, repository int64) (mint.Installation, error) {
	i, err := b.is.InstallationForID(ctx, repository)
	b.from.learn(i, err)
	return i, err
}

// Mint implements [broker.Minter].
func (b bound) Mint(ctx context.Context, g mint.Grant) (mint.Minted, error) {
	m, err := b.is.Mint(ctx, g)
	b.from.doubt(err)
	return m, err
}

// InstallationFor implements [console.GitHub]: that of the first App that has one.
func (a *apps) InstallationFor(ctx context.Context, owner, name string) (mint.Installation, error) {
	return firstInstalled(a.all(), func(one *app) (mint.Installation, error) { return one.InstallationFor(ctx, owner, name) })
}

// InstallationOf implements [console.GitHub]: that of the first App that has one.
func (a *apps) InstallationOf(ctx context.Context, owner string) (mint.Installation, error) {
	return firstInstalled(a.all(), func(one *app) (mint.Installation, error) { return one.InstallationOf(ctx, owner) })
}

func firstInstalled(all []*app, ask func(*app) (mint.Installation, error)) (found mint.Installation, first error) {
	for _, one := range all {
		found, err := ask(one)
		if err == nil || !mint.IsPassedOver(err) {
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
		v := console.App{Name: one.called(), GitHub: one}
		if is := one.usable.Load(); is != nil {
			v.ClientID = is.ID
		} else {
			v.Problem = one.problem()
		}
		views = append(views, v)
	}
	return views
}

// Installations implements [console.GitHub]: those of all Apps.
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

// errUnread says that an App of the pool was not opened yet.
var errUnread = errors.New("it was not read yet")

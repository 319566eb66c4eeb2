package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// A Pool has the Apps that mint beside [Issuer.App], where they are installed. A
// workspace stays with the App that minted its latest token, which the ledger knows by
// the token's installation. It moves if that App is gone or GitHub refuses it; with
// permission to write checks it does not move, since GitHub lets no other App update
// them. A new workspace gets the App with the most requests left.
type Pool struct {
	Apps []PoolApp
	// Choice distributes mints. It lives as long as the program, so that GitHub's
	// answers about an App are reused.
	Choice *mint.Pool
}

// A PoolApp is an App other than the first.
type PoolApp struct {
	Name     string      // in the store
	App      *mint.App   // never nil
	Store    store.Store // of the App's own entries; see [store.OfApp]
	NotReady error       // why App cannot mint; nil if it can
}

// apps are the Apps of an issuer.
type apps struct {
	minters   []minter // starting with the first App
	pool      *Pool    // nil if there is only one App
	clock     ledgerClock
	installed func(context.Context) ([]mint.Installation, error) // returns all installations of the only App; nil means that the store and GitHub are asked
}

// rateOf returns the requests left for an installation's App; ok is false if that is
// not known. Call it only in a round.
func (a apps) rateOf(installation int64) (r mint.Rate, ok bool) {
	if a.pool == nil {
		return a.minters[0].App.Rate()
	}
	for _, m := range a.minters {
		if m.learned.has(installation) {
			return m.App.RateOf(installation)
		}
	}
	return r, false
}

// changed returns when the latest of the store's installations was written. Call it
// only in a round.
func (a apps) changed() time.Time {
	var last time.Time
	for _, m := range a.minters {
		if at := m.learned.latestChange(); at.After(last) {
			last = at
		}
	}
	return last
}

// An appInstallation is an App of the pool and its installation with which an owner's token may be
// minted.
type appInstallation struct {
	mint.Candidate
	member
}

func (k installations) places(owner string) (all []appInstallation) {
	for _, m := range k.members {
		for _, in := range m.installed {
			if strings.EqualFold(in.Account.Login, owner) {
				all = append(all, appInstallation{mint.Candidate{App: m.App, Installation: in.ID}, m})
			}
		}
	}
	return all
}

// mint has an owner's token minted by the workspace's App or, if that App cannot, by
// another one.
func (a apps) mint(ctx context.Context, q tokenRequest) error {
	places, failure := q.known.places(q.owner), q.known.failed[q.owner]
	switch {
	case failure != nil && len(places) == 0:
		return failure
	case a.pool == nil:
		return a.minters[0].mint(ctx, q, q.known.installed, "")
	}
	was := q.record.installationOf(q.owner)
	if was == 0 {
		return a.mintWithAny(ctx, q, places, "")
	}
	own, rest := a.ownInstallation(ctx, q, places, was)
	why := fmt.Errorf("no App has installation %d now", was)
	if own != nil {
		if why = a.mintWith(ctx, q, *own); !isAppSpecific(why) {
			return why
		}
	}
	switch {
	case len(rest) == 0 && own != nil:
		return why
	case q.record.Maximum().Levels()["checks"] == "write" && (own != nil || !q.isForced):
		return cannotMoveError(q.record.ID, q.owner, why)
	}
	return a.mintWithAny(ctx, q, rest, why.Error())
}

// cannotMoveError returns the error for a workspace that may write checks and whose App cannot
// mint.
func cannotMoveError(id, owner string, why error) error {
	failure := &usererr.Error{
		Op: "renew the token for " + owner, Err: why,
		Hint: "with checks: write, the workspace must keep the App that created its checks, because GitHub lets no other App update them; check that App with gatepass app status; if it is gone for good: gatepass workspace refresh " + id + " --force",
	}
	return unresolved{failure}
}

// ownInstallation returns the place of an installation, and the other places. If the
// installation is no longer in the store, it asks the Apps.
func (a apps) ownInstallation(ctx context.Context, q tokenRequest, places []appInstallation, installation int64) (own *appInstallation, rest []appInstallation) {
	at := slices.IndexFunc(places, func(p appInstallation) bool { return p.Installation == installation })
	if at >= 0 {
		return &places[at], slices.Delete(slices.Clone(places), at, at+1)
	}
	for _, m := range q.known.members {
		seat := mint.Candidate{App: m.App, Installation: installation}
		if m.NotReady != nil || a.pool.Choice.Check(ctx, seat, nil) != nil {
			continue
		}
		m.installed = []mint.Installation{{ID: installation, Account: mint.Account{Login: q.owner}}}
		return &appInstallation{seat, m}, slices.DeleteFunc(slices.Clone(places), func(p appInstallation) bool { return p.App == m.App })
	}
	return nil, places
}

// mintWithAny tries one App after another until one mints. moved is why the workspace leaves
// its App; "" if it had none.
func (a apps) mintWithAny(ctx context.Context, q tokenRequest, places []appInstallation, moved string) error {
	var first error
	var able []appInstallation
	for _, p := range places {
		if err := a.mayMint(ctx, q, p); err == nil {
			able = append(able, p)
		} else if first == nil {
			first = err
		}
	}
	for len(able) > 0 {
		at, done, err := a.choose(able)
		if err == nil {
			err = able[at].mint(ctx, q, able[at].installed, moved)
			done(err)
		} else {
			at, err = 0, unresolved{err} // the error of the first App; all are used up
			able = able[:1]
		}
		if !isAppSpecific(err) {
			return err
		}
		if first == nil {
			first = err
		}
		able = slices.Delete(slices.Clone(able), at, at+1)
	}
	if first == nil {
		first = unresolved{&mint.Error{Kind: mint.NotInstalled, Op: "find the installation on " + q.owner, Err: errors.New("no App is installed on " + q.owner)}}
	}
	return first
}

// mintWith has the token minted by the workspace's App only.
func (a apps) mintWith(ctx context.Context, q tokenRequest, p appInstallation) error {
	if err := a.mayMint(ctx, q, p); err != nil {
		return err
	}
	_, done, err := a.choose([]appInstallation{p})
	if err != nil {
		return unresolved{err}
	}
	err = p.mint(ctx, q, p.installed, "")
	done(err)
	return err
}

// choose returns the place whose App has the most requests left.
func (a apps) choose(places []appInstallation) (at int, done func(error), err error) {
	seats := make([]mint.Candidate, len(places))
	for at, p := range places {
		seats[at] = p.Candidate
	}
	seat, done, err := a.pool.Choice.Choose(seats...)
	return slices.Index(seats, seat), done, err
}

// errAppRefusal marks errors of one App after which another App may succeed.
var errAppRefusal = errors.New("another App can")

type appRefusal struct{ error }

func (p appRefusal) Unwrap() []error { return []error{p.error, errUnresolved, errAppRefusal} }

func isAppSpecific(err error) bool {
	return mint.IsAppSpecific(err) || errors.Is(err, errAppRefusal)
}

// mayMint returns why an App is not asked for a token that the record needs: it cannot
// be used, GitHub refused it in this round, or it lacks a permission.
func (a apps) mayMint(ctx context.Context, q tokenRequest, p appInstallation) error {
	if p.NotReady != nil {
		return appRefusal{p.NotReady}
	}
	if err := p.learned.refusal(q.owner, a.clock.now()); err != nil {
		return appRefusal{err}
	}
	err := a.pool.Choice.Check(ctx, p.Candidate, q.record.Permissions.Levels())
	if failure, ok := errors.AsType[*mint.Error](err); ok && failure.Kind == mint.NotInstalled {
		return nil // fulfil checks whether the App was reinstalled
	}
	if err != nil {
		return unresolved{err}
	}
	return nil
}

// WithChecksOf returns the IDs of the workspaces that may write checks and whose latest token
// for an owner is of one of the installations, sorted. GitHub lets no other App update the
// check runs that they made.
func WithChecksOf(ctx context.Context, s store.Store, installations ...int64) ([]string, error) {
	var ids []string
	for f, err := range Records(ctx, s) {
		if err != nil {
			return nil, err
		}
		if f.Err != nil {
			continue // what a damaged record says is not known
		}
		r := f.Record
		isOf := func(owner string) bool { return slices.Contains(installations, r.installationOf(owner)) }
		if !r.Destroying && r.Maximum().Levels()["checks"] == "write" && slices.ContainsFunc(r.tokenOwners(), isOf) {
			ids = append(ids, r.ID)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// installationOf returns the installation of the owner's latest token; 0 if there was
// none.
func (r *Record) installationOf(owner string) int64 {
	for at := len(r.Tokens) - 1; at >= 0; at-- {
		if t := r.Tokens[at]; t.Hash != "" && strings.EqualFold(t.Owner, owner) {
			return t.Installation
		}
	}
	return 0
}

// A minter is one App that mints for workspaces, with what is known of its
// installations.
type minter struct {
	PoolApp
	clock   ledgerClock
	catalog *mint.Catalog
	learned *roundCache // what the runs of a round share; nil for a single run
}

// A tokenRequest is one owner's token that a run needs.
type tokenRequest struct {
	record   *Record
	owner    string // in lower case
	known    installations
	isForced bool // all tokens of the workspace are replaced

	// mint mints the token with an App and delivers it. moved is why the workspace
	// changes its App; "" if it does not.
	mint func(ctx context.Context, m minter, g mint.Grant, moved string) error
}

// errUnresolved marks the errors of one owner's repositories.
var errUnresolved = errors.New("there is no grant")

// unresolved is an error that occurred before GitHub was asked for a token.
type unresolved struct{ error }

func (u unresolved) Unwrap() []error { return []error{u.error, errUnresolved} }

// mint has the token minted, unless the round has learned that GitHub would refuse it.
func (m minter) mint(ctx context.Context, q tokenRequest, installed []mint.Installation, moved string) error {
	if m.NotReady != nil {
		return unresolved{m.NotReady}
	}
	return m.learned.try(q.owner, m.clock, func() error { return m.resolveAgain(ctx, q, installed, moved) })
}

// resolveAgain is like resolve. If GitHub no longer knows the installation, it looks it
// up again: the App may have been reinstalled.
func (m minter) resolveAgain(ctx context.Context, q tokenRequest, installed []mint.Installation, moved string) error {
	err := m.resolve(ctx, q, installed, moved)
	if failure, ok := errors.AsType[*mint.Error](err); !ok || failure.Kind != mint.NotInstalled {
		return err
	}
	now, lookErr := m.find(ctx, q.owner)
	if lookErr != nil || slices.ContainsFunc(installed, func(in mint.Installation) bool { return in.ID == now.ID }) {
		return err
	}
	return m.resolve(ctx, q, []mint.Installation{now}, moved)
}

// resolve turns the record's patterns into a grant, and has it minted.
func (m minter) resolve(ctx context.Context, q tokenRequest, installed []mint.Installation, moved string) error {
	patterns := q.record.Repositories
	if !slices.ContainsFunc(patterns, mint.Pattern.Everything) {
		patterns = slices.DeleteFunc(slices.Clone(patterns), func(p mint.Pattern) bool { return p.Owner() != q.owner })
	}
	grants, err := m.App.ResolveFrom(ctx, m.catalog, patterns, q.record.Maximum(), installed)
	if err != nil {
		return unresolved{err}
	}
	at := slices.IndexFunc(grants, func(g mint.Grant) bool { return strings.EqualFold(g.Owner, q.owner) })
	if at < 0 {
		return unresolved{errors.New("repositories of " + q.owner + ": no grant was found for them")}
	}
	return q.mint(ctx, m, grants[at], moved)
}

// maxOutages is the number of consecutive requests without an answer after which a round
// takes GitHub as down.
const maxOutages = 5

// roundCache is what the runs of one round learn about an App and share: its installations,
// and what is not worth asking GitHub again. Without it, an uninstalled App would cost
// a request for every workspace, and an outage of GitHub a minute for each. A nil
// roundCache records nothing.
type roundCache struct {
	mu          sync.Mutex // guards the rest; held while asking the store or GitHub about installations
	isLoaded    bool
	known       []mint.Installation          // in the store
	changed     time.Time                    // when the latest of them was written
	foundOwners map[string]mint.Installation // owners, in lower case, found by asking GitHub
	failed      map[string]error             // owners that are not worth asking about again
	failing     error                        // why GitHub mints no token of this App
	until       time.Time                    // failing applies until then; zero means for the whole round
	outages     int                          // consecutive requests without an answer
}

// has reports whether the store has the installation, as far as it was read.
func (l *roundCache) has(installation int64) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.known, func(in mint.Installation) bool { return in.ID == installation })
}

// latestChange returns when the latest of the store's installations was written.
func (l *roundCache) latestChange() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// refusal returns why GitHub is not asked for an owner's token, or nil.
func (l *roundCache) refusal(owner string, now time.Time) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing != nil && (l.until.IsZero() || l.until.After(now)) {
		return l.failing
	}
	return l.failed[strings.ToLower(owner)]
}

// try calls ask, unless an earlier run learned that it would fail, and records the
// outcome.
func (l *roundCache) try(owner string, clock ledgerClock, ask func() error) error {
	if l == nil {
		return ask()
	}
	if err := l.refusal(owner, clock.now()); err != nil {
		return unresolved{err}
	}
	err := ask()
	l.record(owner, err, clock.now())
	return err
}

func (l *roundCache) record(owner string, err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.outages = 0
		return
	}
	l.remember(strings.ToLower(owner), err, now)
}

// remember records an error that other runs would get as well.
func (l *roundCache) remember(owner string, err error, now time.Time) {
	failure, ok := errors.AsType[*mint.Error](err)
	if !ok {
		return
	}
	switch failure.Kind {
	case mint.BadKey, mint.Unsigned:
		l.failing, l.until = err, time.Time{}
	case mint.RateLimited:
		l.failing = &usererr.Error{Op: "refresh", Reason: "deferred to the next round: " + failure.Message, Err: ErrDeferred}
		l.until = now.Add(max(failure.RetryAfter, time.Minute))
	case mint.Unavailable:
		if l.outages++; l.outages >= maxOutages {
			l.failing, l.until = fmt.Errorf("%w, %d times in a row", err, l.outages), time.Time{}
		}
	case mint.Suspended, mint.NotInstalled:
		if l.failed == nil {
			l.failed = map[string]error{}
		}
		l.failed[owner] = err
	}
}

package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// A Pool is the Apps that mint beside [Issuer.App], where they are installed. A workspace
// stays with the App that minted its latest token, which the ledger knows by the token's
// installation. It moves when that App is gone or GitHub refuses it; with permission to
// write checks it does not move, since GitHub lets no other App update them. A new
// workspace gets the App that has most of its requests left.
type Pool struct {
	Apps []PoolApp
	// Choice shares mints out. It lives as long as the program, so that what GitHub said
	// of an App is not asked again.
	Choice *mint.Pool
}

// A PoolApp is an App beside the first one.
type PoolApp struct {
	Name    string      // in the store
	App     *mint.App   // never nil
	Store   store.Store // of the App's own entries; see [store.OfApp]
	Unready error       // why App cannot mint; nil where it can
}

// apps are the Apps of an issuer.
type apps struct {
	minters   []minter // the first App first
	pool      *Pool    // nil where there is one App only
	clock     ledgerClock
	installed func(context.Context) ([]mint.Installation, error) // says all of the only App's; nil means that the store and GitHub are asked
}

// rateOf is what GitHub leaves the App of an installation; ok is false where that is not
// known. It is called in a pass.
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

// changed is when the latest of the store's installations was written. It is called in a
// pass.
func (a apps) changed() time.Time {
	var last time.Time
	for _, m := range a.minters {
		if at := m.learned.latest(); at.After(last) {
			last = at
		}
	}
	return last
}

// A place is where an owner's token may be minted: an App of the pool and its
// installation there.
type place struct {
	mint.Seat
	member
}

func (k installations) places(owner string) (all []place) {
	for _, m := range k.members {
		for _, in := range m.installed {
			if strings.EqualFold(in.Account.Login, owner) {
				all = append(all, place{mint.Seat{App: m.App, Installation: in.ID}, m})
			}
		}
	}
	return all
}

// fulfil has an owner's token made by the App that the workspace has, and where that
// cannot, by another one.
func (a apps) fulfil(ctx context.Context, q tokenRequest) error {
	places, failure := q.known.places(q.owner), q.known.failed[q.owner]
	switch {
	case failure != nil && len(places) == 0:
		return failure
	case a.pool == nil:
		return a.minters[0].fulfil(ctx, q, q.known.installed, "")
	}
	was := q.record.installationOf(q.owner)
	if was == 0 {
		return a.byAny(ctx, q, places, "")
	}
	own, rest := a.ownPlace(ctx, q, places, was)
	why := fmt.Errorf("no App has installation %d any more", was)
	if own != nil {
		if why = a.by(ctx, q, *own); !isPassedOver(why) {
			return why
		}
	}
	switch {
	case len(rest) == 0 && own != nil:
		return why
	case q.record.Most().Levels()["checks"] == "write" && (own != nil || !q.isForced):
		return stays(q.record.ID, q.owner, why)
	}
	return a.byAny(ctx, q, rest, why.Error())
}

// stays is the error of a workspace that may write checks and whose App cannot mint.
func stays(id, owner string, why error) error {
	failure := &usererr.Error{
		Op: "renew the token for " + owner, Err: why,
		Hint: "with checks: write the workspace stays with the App that made its checks, since GitHub lets no other App update them; see gatepass app status, and where that App is gone for good: gatepass workspace refresh " + id + " --force",
	}
	return unresolved{failure}
}

// ownPlace finds the place that has an installation, and returns the others beside it.
// Where the store does not know the installation any more, the Apps are asked.
func (a apps) ownPlace(ctx context.Context, q tokenRequest, places []place, installation int64) (own *place, rest []place) {
	at := slices.IndexFunc(places, func(p place) bool { return p.Installation == installation })
	if at >= 0 {
		return &places[at], slices.Delete(slices.Clone(places), at, at+1)
	}
	for _, m := range q.known.members {
		seat := mint.Seat{App: m.App, Installation: installation}
		if m.Unready != nil || a.pool.Choice.Check(ctx, seat, nil) != nil {
			continue
		}
		m.installed = []mint.Installation{{ID: installation, Account: mint.Account{Login: q.owner}}}
		return &place{seat, m}, slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.App == m.App })
	}
	return nil, places
}

// byAny goes from one App to the next until one mints. moved is why the workspace
// leaves the App that it had; "" where it had none.
func (a apps) byAny(ctx context.Context, q tokenRequest, places []place, moved string) error {
	var first error
	var able []place
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
			err = able[at].fulfil(ctx, q, able[at].installed, moved)
			done(err)
		} else {
			at, err = 0, unresolved{err} // of the first; all are used up
			able = able[:1]
		}
		if !isPassedOver(err) {
			return err
		}
		if first == nil {
			first = err
		}
		able = slices.Delete(slices.Clone(able), at, at+1)
	}
	if first == nil {
		first = unresolved{&mint.Error{Kind: mint.NotInstalled, Doing: "find the installation on " + q.owner, Err: errors.New("no App is installed on " + q.owner)}}
	}
	return first
}

// by has the one App make the token that the workspace has.
func (a apps) by(ctx context.Context, q tokenRequest, p place) error {
	if err := a.mayMint(ctx, q, p); err != nil {
		return err
	}
	_, done, err := a.choose([]place{p})
	if err != nil {
		return unresolved{err}
	}
	err = p.fulfil(ctx, q, p.installed, "")
	done(err)
	return err
}

// choose returns the place whose App has most left.
func (a apps) choose(places []place) (at int, done func(error), err error) {
	seats := make([]mint.Seat, len(places))
	for at, p := range places {
		seats[at] = p.Seat
	}
	seat, done, err := a.pool.Choice.Choose(seats...)
	return slices.Index(seats, seat), done, err
}

// errPassed marks errors of an App that another one need not have.
var errPassed = errors.New("another App may")

type passed struct{ error }

func (p passed) Unwrap() []error { return []error{p.error, errUnresolved, errPassed} }

func isPassedOver(err error) bool {
	return mint.IsPassedOver(err) || errors.Is(err, errPassed)
}

// mayMint returns why an App is not asked for a token that the record needs: it cannot
// be used, GitHub refused it in this pass, or it lacks a permission.
func (a apps) mayMint(ctx context.Context, q tokenRequest, p place) error {
	if p.Unready != nil {
		return passed{p.Unready}
	}
	if err := p.learned.closed(q.owner, a.clock.now()); err != nil {
		return passed{err}
	}
	err := a.pool.Choice.Check(ctx, p.Seat, q.record.Permissions.Levels())
	if failure, ok := errors.AsType[*mint.Error](err); ok && failure.Kind == mint.NotInstalled {
		return nil // fulfil looks whether it was installed anew
	}
	if err != nil {
		return unresolved{err}
	}
	return nil
}

// installationOf is that of the owner's latest token; 0 where there was none.
func (r *Record) installationOf(owner string) int64 {
	for at := len(r.Tokens) - 1; at >= 0; at-- {
		if t := r.Tokens[at]; t.Hash != "" && strings.EqualFold(t.Owner, owner) {
			return t.Installation
		}
	}
	return 0
}

// A minter is one App that mints for workspaces, and what is known of its installations.
type minter struct {
	PoolApp
	clock   ledgerClock
	catalog *mint.Catalog
	learned *learned // what the runs of a pass share; nil for a single run
}

// A tokenRequest is one owner's token that a run needs.
type tokenRequest struct {
	record   *Record
	owner    string // in lower case
	known    installations
	isForced bool // all tokens of the workspace are replaced

	// mint makes the token by an App and delivers it. moved is why the workspace leaves
	// the App that it had; "" where it stays.
	mint func(ctx context.Context, m minter, g mint.Grant, moved string) error
}

// errUnresolved marks the errors of one owner's repositories.
var errUnresolved = errors.New("no grant")

// unresolved is an error before GitHub was asked for a token.
type unresolved struct{ error }

func (u unresolved) Unwrap() []error { return []error{u.error, errUnresolved} }

// fulfil has the token made, unless the pass knows that GitHub would refuse it.
func (m minter) fulfil(ctx context.Context, q tokenRequest, installed []mint.Installation, moved string) error {
	if m.Unready != nil {
		return unresolved{m.Unready}
	}
	return m.learned.try(q.owner, m.clock, func() error { return m.resolveAgain(ctx, q, installed, moved) })
}

// resolveAgain is resolve, and looks an installation up that GitHub does not know any
// more: the App may have been installed again.
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

// resolve turns the record's patterns into what GitHub is asked for, and has it minted.
func (m minter) resolve(ctx context.Context, q tokenRequest, installed []mint.Installation, moved string) error {
	patterns := q.record.Repositories
	if !slices.ContainsFunc(patterns, mint.Pattern.Everything) {
		patterns = slices.DeleteFunc(slices.Clone(patterns), func(p mint.Pattern) bool { return p.Owner() != q.owner })
	}
	grants, err := m.App.ResolveFrom(ctx, m.catalog, patterns, q.record.Most(), installed)
	if err != nil {
		return unresolved{err}
	}
	at := slices.IndexFunc(grants, func(g mint.Grant) bool { return strings.EqualFold(g.Owner, q.owner) })
	if at < 0 {
		return unresolved{errors.New("repositories of " + q.owner + ": nothing was resolved for them")}
	}
	return q.mint(ctx, m, grants[at], moved)
}

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

// installations are where Apps are installed, as far as a record needs it.
type installations struct {
	installed []mint.Installation // one for each account, of the first App that is installed there
	failed    map[string]error    // owners, in lower case, about whom GitHub could not be asked
	members   []member            // the Apps of a pool; nil where there is one App
}

// member is one App of a pool, and where it is installed.
type member struct {
	minter
	installed []mint.Installation
}

// stored returns the installations that the store knows, of all Apps: one for each
// account, that of the first App that is installed there.
func (a apps) stored(ctx context.Context) ([]mint.Installation, error) {
	var all []mint.Installation
	for _, m := range a.minters {
		of, err := m.stored(ctx)
		if err != nil {
			return nil, err
		}
		if a.pool == nil {
			return of, nil
		}
		all = merged(all, of)
	}
	return all, nil
}

// lookUp finds out where the Apps are installed, as far as the record needs it.
func (a apps) lookUp(ctx context.Context, r *Record) (installations, error) {
	if len(r.Repositories) == 0 || r.Destroying {
		return installations{}, nil
	}
	if a.pool != nil {
		return a.lookUpAll(ctx, r)
	}
	if a.installed != nil {
		installed, err := a.installed(ctx)
		return installations{installed: installed}, err
	}
	only := a.minters[0]
	installed, err := only.storedFor(ctx, r)
	if err != nil || only.Unready != nil {
		return installations{installed: installed}, err
	}
	return only.complete(ctx, r, installed)
}

// lookUpAll is lookUp for a pool. GitHub is asked about owners that no App's store
// entries name.
func (a apps) lookUpAll(ctx context.Context, r *Record) (installations, error) {
	a.clock.sync(ctx) // by the first App, which may not be asked for anything else
	var k installations
	for _, m := range a.minters {
		installed, err := m.stored(ctx)
		if err != nil {
			return k, err
		}
		k.installed = merged(k.installed, installed)
		k.members = append(k.members, member{m, installed})
	}
	for at := range k.members {
		m := &k.members[at]
		if m.Unready != nil {
			continue
		}
		more, err := m.complete(ctx, r, k.installed)
		if err != nil {
			return k, err
		}
		m.installed = append(slices.Clip(m.installed), more.installed[len(k.installed):]...)
		k.installed = more.installed
		for owner, err := range more.failed {
			if k.failed == nil {
				k.failed = map[string]error{}
			}
			if k.failed[owner] == nil {
				k.failed[owner] = err
			}
		}
	}
	return k, nil
}

// merged adds the installations on accounts that all does not have.
func merged(all, more []mint.Installation) []mint.Installation {
	all = slices.Clip(all)
	for _, in := range more {
		if !isOn(all, in.Account.Login) {
			all = append(all, in)
		}
	}
	return all
}

func isOn(installed []mint.Installation, owner string) bool {
	return slices.ContainsFunc(installed, func(in mint.Installation) bool { return strings.EqualFold(in.Account.Login, owner) })
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

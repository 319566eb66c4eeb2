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

// Apps returns all Apps, the first of them under the name [store.FirstApp].
func (i *Issuer) Apps() []PoolApp {
	all := []PoolApp{{Name: store.FirstApp, App: i.App, Store: i.Store, Unready: i.Unready}}
	if i.Pool != nil {
		all = append(all, i.Pool.Apps...)
	}
	return all
}

// CannotMint returns why no App can mint; nil where one can.
func (i *Issuer) CannotMint() error {
	for _, a := range i.Apps() {
		if a.Unready == nil {
			return nil
		}
	}
	return i.Unready
}

// views returns the issuer as it is with each App alone, the first App first. All of
// them read the first App's clock.
func (i *Issuer) views() []*Issuer {
	first := *i
	first.Pool = nil
	views := []*Issuer{&first}
	for _, a := range i.Pool.Apps {
		v := first
		v.App, v.Unready, v.ofApp, v.cache = a.App, a.Unready, a.Store, i.cache.app(a.Name)
		v.Now, v.Installed = i.now, nil
		views = append(views, &v)
	}
	return views
}

// stored returns the installations that the store knows, of all Apps: one for each
// account, that of the first App that is installed there.
func (i *Issuer) stored(ctx context.Context) ([]mint.Installation, error) {
	if i.Pool == nil {
		return i.cache.stored(ctx, i)
	}
	var all []mint.Installation
	for _, v := range i.views() {
		of, err := v.cache.stored(ctx, v)
		if err != nil {
			return nil, err
		}
		all = merged(all, of)
	}
	return all, nil
}

// installationAt is the installation of the delivered token that ends then; 0 where no token does.
func (r *Record) installationAt(end time.Time) int64 {
	for _, t := range r.Tokens {
		if t.State == Delivered && t.Expires.Equal(end) {
			return t.Installation
		}
	}
	return 0
}

// rateOf is what GitHub leaves the App of an installation; ok is false where that is not
// known. It is called in a pass.
func (i *Issuer) rateOf(installation int64) (r mint.Rate, ok bool) {
	if i.Pool == nil {
		return i.App.Rate()
	}
	for _, v := range i.views() {
		if v.cache.has(installation) {
			return v.App.RateOf(installation)
		}
	}
	return r, false
}

// has reports whether the store knows the installation, as far as it was read.
func (s *passCache) has(installation int64) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.known, func(in mint.Installation) bool { return in.ID == installation })
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

// member is what is known of one App of a pool.
type member struct {
	*Issuer
	known installations
}

// lookUpAll is lookUp for all Apps. GitHub is asked about owners that no App's store
// entries name.
func (i *Issuer) lookUpAll(ctx context.Context, r *Record) (installations, error) {
	i.Sync(ctx) // by the first App, which may not be asked for anything else
	var k installations
	for _, v := range i.views() {
		installed, err := v.cache.stored(ctx, v)
		if err != nil {
			return k, err
		}
		k.installed = merged(k.installed, installed)
		k.members = append(k.members, member{v, installations{installed: installed}})
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
		m.known.installed = append(slices.Clip(m.known.installed), more.installed[len(k.installed):]...)
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

// A place is where an owner's token may be minted: an App of the pool and its
// installation there.
type place struct {
	mint.Seat
	member
}

func (k installations) places(owner string) (all []place) {
	for _, m := range k.members {
		for _, in := range m.known.installed {
			if strings.EqualFold(in.Account.Login, owner) {
				all = append(all, place{mint.Seat{App: m.App, Installation: in.ID}, m})
			}
		}
	}
	return all
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

// isLatest reports whether no later token of the owner is known: it says which App the
// workspace has there.
func (r *Record) isLatest(at int) bool {
	t := r.Tokens[at]
	return t.Hash != "" && !slices.ContainsFunc(r.Tokens[at+1:], func(later Token) bool {
		return later.Hash != "" && strings.EqualFold(later.Owner, t.Owner)
	})
}

// renewInPool makes and delivers one owner's token by the App that the workspace has, and
// where that cannot, by another one.
func (i *Issuer) renewInPool(ctx context.Context, r *Record, held *heldTokens, owner string, known installations) error {
	places := known.places(owner)
	if err := known.failed[owner]; err != nil && len(places) == 0 {
		return err
	}
	was := r.installationOf(owner)
	if was == 0 {
		return i.renewByAny(ctx, r, held, owner, places, "")
	}
	own, rest := i.ownPlace(ctx, known, places, owner, was)
	why := fmt.Errorf("no App has installation %d any more", was)
	if own != nil {
		if why = i.renewBy(ctx, r, held, owner, *own); !isPassedOver(why) {
			return why
		}
	}
	switch {
	case len(rest) == 0 && own != nil:
		return why
	case r.Most().Levels()["checks"] == "write" && (own != nil || !r.isForced):
		return stays(r.ID, owner, why)
	}
	return i.renewByAny(ctx, r, held, owner, rest, why.Error())
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
func (i *Issuer) ownPlace(ctx context.Context, known installations, places []place, owner string, installation int64) (own *place, rest []place) {
	at := slices.IndexFunc(places, func(p place) bool { return p.Installation == installation })
	if at >= 0 {
		return &places[at], slices.Delete(slices.Clone(places), at, at+1)
	}
	for _, m := range known.members {
		seat := mint.Seat{App: m.App, Installation: installation}
		if m.Unready != nil || i.Pool.Choice.Check(ctx, seat, nil) != nil {
			continue
		}
		m.known.installed = []mint.Installation{{ID: installation, Account: mint.Account{Login: owner}}}
		return &place{seat, m}, slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.App == m.App })
	}
	return nil, places
}

// renewByAny goes from one App to the next until one mints. moved is why the workspace
// leaves the App that it had; "" where it had none.
func (i *Issuer) renewByAny(ctx context.Context, r *Record, held *heldTokens, owner string, places []place, moved string) error {
	var first error
	var able []place
	for _, p := range places {
		if err := i.mayMint(ctx, r, owner, p); err == nil {
			able = append(able, p)
		} else if first == nil {
			first = err
		}
	}
	for len(able) > 0 {
		at, done, err := i.choose(able)
		if err == nil {
			err = renewAt(ctx, r, held, owner, able[at], moved)
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
		first = unresolved{&mint.Error{Kind: mint.NotInstalled, Doing: "find the installation on " + owner, Err: errors.New("no App is installed on " + owner)}}
	}
	return first
}

// renewBy has the one App make the token that the workspace has.
func (i *Issuer) renewBy(ctx context.Context, r *Record, held *heldTokens, owner string, p place) error {
	if err := i.mayMint(ctx, r, owner, p); err != nil {
		return err
	}
	_, done, err := i.choose([]place{p})
	if err != nil {
		return unresolved{err}
	}
	err = renewAt(ctx, r, held, owner, p, "")
	done(err)
	return err
}

// choose returns the place whose App has most left.
func (i *Issuer) choose(places []place) (at int, done func(error), err error) {
	seats := make([]mint.Seat, len(places))
	for at, p := range places {
		seats[at] = p.Seat
	}
	seat, done, err := i.Pool.Choice.Choose(seats...)
	return slices.Index(seats, seat), done, err
}

func renewAt(ctx context.Context, r *Record, held *heldTokens, owner string, p place, moved string) error {
	v := *p.Issuer
	v.moved = moved
	return v.renew(ctx, r, held, owner, p.known)
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
func (i *Issuer) mayMint(ctx context.Context, r *Record, owner string, p place) error {
	if p.Unready != nil {
		return passed{p.Unready}
	}
	if err := p.cache.closed(owner, i.now()); err != nil {
		return passed{err}
	}
	err := i.Pool.Choice.Check(ctx, p.Seat, r.Permissions.Levels())
	if failure, ok := errors.AsType[*mint.Error](err); ok && failure.Kind == mint.NotInstalled {
		return nil // renew looks whether it was installed anew
	}
	if err != nil {
		return unresolved{err}
	}
	return nil
}

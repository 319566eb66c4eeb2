package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// A run works on one workspace while no other run does. It plans, acts and records,
// until the workspace has what its record says: [run.reconcile] reads the record, the
// installations and the tokens in the store, [run.converge] asks [Plan] for steps,
// [run.apply] does them, and [run.conclude] records the outcome. Each step is recorded
// before it is done, so that the next run finishes what a killed run began.
type run struct {
	ledger ledger
	apps   apps
	audit  func(Event)
	blocks *store.Blocks // as they were when the pass began; nil outside of a pass over all

	record *Record
	held   *heldTokens
	known  installations

	isNew        bool     // this run made the record
	isForced     bool     // this run replaces every token
	isUnrecorded bool     // record takes the place of one that is not there or cannot be read
	expects      bool     // this run noted in LastError that the store will keep a token that the record does not know
	keepsUnknown bool     // the store keeps such a token, to be revoked
	failed       []string // owners whose token this run could not mint
}

// maxRounds bounds how often a run plans: what one round mints, the next may
// have to clean up after.
const maxRounds = 3

// reconcile does what Plan says until nothing is left to do, so that the workspace
// has what its record says. An owner whose token cannot be minted does not keep
// the others from theirs.
func (r *run) reconcile(ctx context.Context, since time.Time) error {
	r.keepsUnknown = r.record.LastError != nil && r.record.LastError.Foreign
	r.isForced = !since.IsZero()
	want := r.ledger.want(r.record, nil)
	r.record.prune(want.Now.Add(-want.Doubt), r.apps.pool != nil)
	known, err := r.apps.lookUp(ctx, r.record)
	if err != nil {
		return err
	}
	r.known, r.record.wanted = known, append([]string{}, ownersOf(r.record.Repositories, known.installed)...)
	blocks, err := r.readBlocks(ctx)
	if err != nil {
		return err
	}
	want.Owners, want.Since = allowed(slices.Clone(r.record.wanted), r.record.ID, blocks), since
	if blocks.Has(r.record.ID, "") { // a workspace that is blocked keeps no token
		want.Adopt = true
	}
	isUnsure := r.isNew || r.ledger.tenure.tookOver || blocks.Has(r.record.ID, "") // the store may have tokens that the record does not tell of
	if r.held, err = readHeld(ctx, r.ledger.store, r.record, want.Owners, isUnsure, r.ledger.adopt); err != nil {
		return err
	}
	if err := r.discard(ctx); err != nil {
		return err
	}
	if err := r.converge(ctx, want); err != nil || r.record.Destroying {
		return err
	}
	return r.requireAnyOwner(ctx)
}

// converge plans and acts until nothing is left to do. An owner's token is minted once:
// where a wrong clock says that the new token does not last, it is not minted again.
func (r *run) converge(ctx context.Context, want Want) (err error) {
	tried := map[string]bool{}
	var left []Step
	for range maxRounds {
		want.Now, want.Doubt = r.ledger.clock.now(), r.ledger.clock.doubt()
		steps := slices.DeleteFunc(Plan(r.record, r.held.held(), want), func(s Step) bool { return s.Do == Mint && tried[s.Owner] })
		if steps, left = withoutLeft(steps); len(steps) == 0 {
			break
		}
		for _, s := range steps {
			tried[s.Owner] = tried[s.Owner] || s.Do == Mint
		}
		if err = r.apply(ctx, steps); err != nil {
			break
		}
	}
	r.keepsUnknown = r.held.keepsUnknown(r.record)
	if ctx.Err() != nil || r.ledger.tenure.check() != nil || errors.Is(err, ErrBusy) {
		return err
	}
	return usererr.Join(err, r.held.copyOnly(ctx), foreign(r.record.ID, left))
}

// apply does the steps of one plan. What GitHub refuses for one token does not
// keep the run from the others.
func (r *run) apply(ctx context.Context, steps []Step) error {
	var refused []error
	for _, s := range steps {
		err := r.step(ctx, s)
		if err == nil {
			continue
		}
		if s.Do == Mint {
			r.failed = append(r.failed, s.Owner)
			r.tell(Event{Type: Failed, Owner: s.Owner, Err: err})
		} else {
			r.remember(PastEvent{What: failed, Owner: s.Owner, Hash: s.Hash, Why: err.Error()})
		}
		// What is the same for all, as that no App is set up, is said once.
		if !slices.ContainsFunc(refused, func(before error) bool { return before.Error() == err.Error() }) {
			refused = append(refused, err)
		}
		if !isRefusal(err) {
			break
		}
	}
	if r.record.isDirty && len(refused) == 0 {
		return r.ledger.save(ctx, r.record)
	}
	return usererr.Join(refused...)
}

// isRefusal reports whether an error is about one token and no other: not the
// store's, and not that time is up.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*mint.Error](err)
	return ok || errors.Is(err, mint.ErrWider) || errors.Is(err, errUnresolved)
}

// step does one step of a plan.
func (r *run) step(ctx context.Context, s Step) error {
	if s.Do == Mint {
		return r.apps.fulfil(ctx, tokenRequest{r.record, s.Owner, r.known, r.isForced, r.mint})
	}
	at := slices.IndexFunc(r.record.Tokens, func(t Token) bool {
		return t.Hash == s.Hash && (s.Owner == "" || strings.EqualFold(t.Owner, s.Owner)) && (t.State != Revoked || s.Do == Forget)
	})
	var t *Token
	if at >= 0 {
		t = &r.record.Tokens[at]
	}
	switch s.Do {
	case Adopt:
		r.remember(PastEvent{What: delivered, Owner: t.Owner, Hash: t.Hash, Why: s.Why})
		return r.change(ctx, t, Delivered, "")
	case Supersede:
		return r.change(ctx, t, Superseded, "")
	case Abandon:
		return r.abandon(ctx, t, s.Why)
	case Revoke:
		return r.revoke(ctx, t, s)
	case Forget:
		return r.forget(ctx, t, s)
	}
	return fmt.Errorf("there is no step %q", s.Do)
}

// conclude writes the outcome of a run into the record, and returns it. A run that
// was cut short, or left to a later pass, says nothing about the workspace and
// changes nothing.
func (r *run) conclude(ctx context.Context, why error) error {
	if errors.Is(why, ErrDeferred) || errors.Is(why, ErrBusy) || errors.Is(why, context.Canceled) || why == nil && (r.record.LastError == nil || r.keepsUnknown) {
		return why
	}
	r.record.LastError = nil
	if why != nil {
		slices.Sort(r.failed)
		r.record.LastError = &LastError{
			At: r.ledger.clock.now(), Why: redact.Text(usererr.Escape(why.Error()), maxWhy),
			Foreign: errors.Is(why, ErrForeign) || r.keepsUnknown, Owners: slices.Compact(r.failed),
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWait)
	defer cancel()
	err := r.ledger.save(ctx, r.record)
	if why != nil {
		return why // an error of the store would hide it
	}
	return err
}

// readBlocks returns what is blocked. Those that the pass read count where they leave the
// workspace alone and each of its owners has a live token: then no run has withdrawn any
// before this one, and an operator who blocks later withdraws the new ones. In any other
// case they are read now.
func (r *run) readBlocks(ctx context.Context) (store.Blocks, error) {
	if r.blocks == nil {
		return store.ReadBlocks(ctx, r.ledger.store)
	}
	hasToken := func(owner string) bool {
		return slices.ContainsFunc(r.record.Tokens, func(t Token) bool {
			return t.State == Delivered && strings.EqualFold(t.Owner, owner) && t.Expires.After(r.ledger.clock.now())
		})
	}
	isOpen := func(owner string) bool { return r.blocks.Has(r.record.ID, owner) || !hasToken(owner) }
	if r.blocks.Has(r.record.ID, "") || slices.ContainsFunc(r.record.wanted, isOpen) {
		return store.ReadBlocks(ctx, r.ledger.store)
	}
	return *r.blocks, nil
}

// allowed leaves out the owners that are blocked for the workspace.
func allowed(owners []string, id string, blocks store.Blocks) []string {
	return slices.DeleteFunc(owners, func(owner string) bool { return blocks.Has(id, owner) })
}

// requireAnyOwner returns an error where a record names repositories and no owner: a
// workspace without any token is not what was asked for.
func (r *run) requireAnyOwner(ctx context.Context) error {
	if len(r.record.Repositories) == 0 || len(ownersOf(r.record.Repositories, r.known.installed)) > 0 {
		return nil
	}
	first := r.apps.minters[0]
	if first.Unready != nil && r.apps.pool == nil {
		return unresolved{first.Unready}
	}
	_, err := first.App.Resolve(ctx, r.record.Repositories, r.record.Permissions, r.known.installed)
	return err
}

// ErrForeign reports that a workspace's place for a token holds a live one that
// gatepass did not write. It was left alone, and what else was to do was done.
var ErrForeign = errors.New("the store holds a live token that gatepass did not write")

// foreign is the error for tokens that were left alone; nil for none.
func foreign(id string, left []Step) error {
	var places []string
	for _, s := range left {
		name, err := tokenName(id, s.Owner)
		if err != nil {
			return err
		}
		places = append(places, name.String())
	}
	if len(places) == 0 {
		return nil
	}
	return &usererr.Error{
		Op: "workspace " + id, Err: ErrForeign,
		Reason: ErrForeign.Error() + ", and left it alone: " + strings.Join(places, ", ") + "; another system delivers to the workspace",
		Hint:   "stop that system for it, then: gatepass workspace refresh " + id + " --adopt",
	}
}

// withoutLeft parts the steps that are to be done from those that are left.
func withoutLeft(steps []Step) (todo, left []Step) {
	for _, s := range steps {
		if s.Do == Leave {
			left = append(left, s)
		} else {
			todo = append(todo, s)
		}
	}
	return todo, left
}

// maxLost is how many tokens that nobody ever saw a record names: a GitHub that
// does not answer for an hour would fill it until no store takes it.
const maxLost = 100

// prune removes tokens from the record that are dead for long, and the oldest of those
// that were lost before their hash was known, which end before the others. In a pool it
// leaves each owner's latest token, which says by which App it was minted.
func (r *Record) prune(now time.Time, isPool bool) {
	unseen := 0
	for _, t := range r.Tokens {
		if t.isUnseen() {
			unseen++
		}
	}
	kept := r.Tokens[:0]
	for at, t := range r.Tokens {
		isOver := t.State == Revoked && now.Sub(t.Changed) > tokenLife && !(isPool && r.isLatest(at))
		if t.isUnseen() {
			unseen--
			isOver = isOver || unseen >= maxLost
		}
		if !isOver {
			kept = append(kept, t)
		}
	}
	clear(r.Tokens[len(kept):])
	r.Tokens = kept
}

// isLatest reports whether no later token of the owner is known: it says which App the
// workspace has there.
func (r *Record) isLatest(at int) bool {
	t := r.Tokens[at]
	return t.Hash != "" && !slices.ContainsFunc(r.Tokens[at+1:], func(later Token) bool {
		return later.Hash != "" && strings.EqualFold(later.Owner, t.Owner)
	})
}

// isUnseen reports whether the token was lost before anybody knew more of it than
// that it may be.
func (t Token) isUnseen() bool { return t.Lost && t.Hash == "" }

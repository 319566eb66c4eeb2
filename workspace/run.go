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
// until the workspace is in the state of its record: [run.reconcile] reads the record,
// the installations and the tokens in the store, [run.converge] asks [Plan] for steps,
// [run.apply] does them, and [run.recordOutcome] records the outcome. Each step is recorded
// before it is done, so that the next run finishes what a killed run began.
type run struct {
	ledger ledger
	apps   apps
	audit  func(Event)
	blocks *store.Blocks // as they were when the round began; nil outside of a round over all workspaces

	record *Record
	held   *heldTokens
	known  installations

	isNew         bool     // this run made the record
	isForced      bool     // this run replaces every token
	isUnrecorded  bool     // record replaces one that does not exist or cannot be read
	expects       bool     // this run noted in LastError that the store will keep a token that the record does not know
	storesUnknown bool     // the store has such a token, to be revoked
	failed        []string // owners whose token this run could not mint
}

// maxPlans limits how often a run plans: after what one plan mints, the next may have
// to clean up.
const maxPlans = 3

// reconcile does what Plan returns until nothing is left to do, so that the workspace
// is in the state of its record. If one owner's token cannot be minted, the others
// still get theirs.
func (r *run) reconcile(ctx context.Context, since time.Time) error {
	r.storesUnknown = r.record.LastError != nil && r.record.LastError.Foreign
	r.isForced = !since.IsZero()
	want := r.ledger.want(r.record, nil)
	r.record.prune(want.Now.Add(-want.Uncertainty), r.apps.pool != nil)
	known, err := r.apps.findInstallations(ctx, r.record)
	if err != nil {
		return err
	}
	r.known, r.record.wanted = known, append([]string{}, ownersOf(r.record.Repositories, known.installed)...)
	blocks, err := r.readBlocks(ctx)
	if err != nil {
		return err
	}
	want.Owners, want.Since = allowed(slices.Clone(r.record.wanted), r.record.ID, blocks), since
	if blocks.Has(r.record.ID, "") { // a blocked workspace keeps no token
		want.Adopt = true
	}
	isUnsure := r.isNew || r.ledger.tenure.tookOver || blocks.Has(r.record.ID, "") // the store may have tokens that the record does not list
	if r.held, err = readHeld(ctx, r.ledger.store, r.record, want.Owners, isUnsure, r.ledger.adopt); err != nil {
		return err
	}
	if err := r.deleteDamaged(ctx); err != nil {
		return err
	}
	if err := r.converge(ctx, want); err != nil || r.record.Destroying {
		return err
	}
	return r.requireAnyOwner(ctx)
}

// converge plans and acts until nothing is left to do. It mints an owner's token only
// once, even if by a wrong clock the new token does not last.
func (r *run) converge(ctx context.Context, want Want) (err error) {
	tried := map[string]bool{}
	var left []Step
	for range maxPlans {
		want.Now, want.Uncertainty = r.ledger.clock.now(), r.ledger.clock.uncertainty()
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
	r.storesUnknown = r.held.storesUnknown(r.record)
	if ctx.Err() != nil || r.ledger.tenure.check() != nil || errors.Is(err, ErrBusy) {
		return err
	}
	return usererr.Join(err, r.held.syncOnlyToken(ctx), foreign(r.record.ID, left))
}

// apply does the steps of one plan. If GitHub refuses one token, it goes on with the
// others.
func (r *run) apply(ctx context.Context, steps []Step) error {
	var refused []error
	for _, s := range steps {
		err := r.step(ctx, s)
		if err == nil {
			continue
		}
		if s.Do == Mint {
			r.failed = append(r.failed, s.Owner)
			r.emit(Event{Type: Failed, Owner: s.Owner, Err: err})
		} else {
			r.remember(PastEvent{What: failed, Owner: s.Owner, Hash: s.Hash, Why: err.Error()})
		}
		// An error that is the same for all owners, such as a missing App, is reported
		// once.
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

// isRefusal reports whether an error is about a single token, and not about the store
// or a timeout.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*mint.Error](err)
	_, isUnmarked := errors.AsType[unmarked](err)
	return ok || isUnmarked || errors.Is(err, mint.ErrWider) || errors.Is(err, errUnresolved)
}

// step does one step of a plan.
func (r *run) step(ctx context.Context, s Step) error {
	if s.Do == Mint {
		return r.apps.mint(ctx, tokenRequest{r.record, s.Owner, r.known, r.isForced, r.mint})
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

// recordOutcome writes the outcome of a run to the record, and returns it. The outcome of a
// run that was cut short or deferred says nothing about the workspace and is not
// written.
func (r *run) recordOutcome(ctx context.Context, why error) error {
	if errors.Is(why, ErrDeferred) || errors.Is(why, ErrBusy) || errors.Is(why, context.Canceled) || why == nil && (r.record.LastError == nil || r.storesUnknown) {
		return why
	}
	r.record.LastError = nil
	if why != nil {
		slices.Sort(r.failed)
		r.record.LastError = &LastError{
			At: r.ledger.clock.now(), Why: redact.Text(usererr.Escape(why.Error()), maxWhy),
			Foreign: errors.Is(why, ErrForeign) || r.storesUnknown, Owners: slices.Compact(r.failed),
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

// readBlocks returns the blocks. Those that the round read are used if they do not block
// the workspace and each of its owners has a live token: then no run has withdrawn any
// before this one, and an operator who blocks later withdraws the new ones. In any
// other case it reads them now.
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

// allowed returns the owners without those that are blocked for the workspace.
func allowed(owners []string, id string, blocks store.Blocks) []string {
	return slices.DeleteFunc(owners, func(owner string) bool { return blocks.Has(id, owner) })
}

// requireAnyOwner returns an error if a record names repositories but no owner: the
// user did not ask for a workspace without a token.
func (r *run) requireAnyOwner(ctx context.Context) error {
	if len(r.record.Repositories) == 0 || len(ownersOf(r.record.Repositories, r.known.installed)) > 0 {
		return nil
	}
	first := r.apps.minters[0]
	if first.NotReady != nil && r.apps.pool == nil {
		return unresolved{first.NotReady}
	}
	_, err := first.App.Resolve(ctx, r.record.Repositories, r.record.Permissions, r.known.installed)
	return err
}

// ErrForeign reports that a workspace's entry for a token holds a live one that
// gatepass did not write. It was left alone, and the other steps were done.
var ErrForeign = errors.New("the store has a live token that gatepass did not write")

// foreign returns the error for tokens that were left alone; nil for none.
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
		Hint:   "stop that system for this workspace, then: gatepass workspace refresh " + id + " --adopt",
	}
}

// withoutLeft splits the steps into those to do and those to leave alone.
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

// deleteDamaged deletes entries that should be tokens and are not, so that Plan takes the
// tokens in the record as lost. The record does not list what brokers gave: such an
// entry is left alone or, in a destruction, recorded as an unknown token.
func (r *run) deleteDamaged(ctx context.Context) error {
	for _, name := range r.held.damaged {
		if name.IsVended() && !r.record.Destroying {
			continue
		}
		if name.IsVended() || len(r.record.Tokens) == 0 { // or it is the first system's
			r.recordUnknown("the store's entry for a token is damaged")
			if err := r.ledger.save(ctx, r.record); err != nil {
				return err
			}
		}
		if err := r.ledger.store.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

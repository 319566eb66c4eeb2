package workspace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// maxRounds bounds how often a run plans: what one round mints, the next may
// have to clean up after.
const maxRounds = 3

// settle does what Plan says until nothing is left to do, so that the workspace
// has what its record says. One owner whose token cannot be had does not keep
// the others from theirs.
func (i *Issuer) reconcile(ctx context.Context, r *Record, since time.Time) error {
	r.keepsUnknown = r.LastError != nil && r.LastError.Foreign
	r.isForced = !since.IsZero()
	r.prune(i.now().Add(-i.doubt()), i.Pool != nil)
	known, err := i.lookUp(ctx, r)
	if err != nil {
		return err
	}
	r.wanted = append([]string{}, ownersOf(r.Repositories, known.installed)...)
	blocks, err := i.blocks(ctx, r)
	if err != nil {
		return err
	}
	want := i.want(r, allowed(slices.Clone(r.wanted), r.ID, blocks))
	want.Since = since
	look := i.loadHeld
	if blocks.Has(r.ID, "") { // nothing is left to a workspace that is blocked
		want.Adopt, look = true, func(ctx context.Context, r *Record, _ []string) (*heldTokens, error) { return i.list(ctx, r) }
	}
	held, err := look(ctx, r, slices.Collect(maps.Keys(want.Owners)))
	if err != nil {
		return err
	}
	if err := i.discard(ctx, r, held); err != nil {
		return err
	}
	if err := i.converge(ctx, r, held, want, known); err != nil || r.Destroying {
		return err
	}
	return i.requireAnyOwner(ctx, r, known)
}

// discard deletes what should be a token and is none, so that Plan takes for lost
// what the record says was there. Of what a broker kept the record does not know:
// that is told when all is taken away, and left before.
func (i *Issuer) discard(ctx context.Context, r *Record, held *heldTokens) error {
	for _, name := range held.damaged {
		if name.IsVended() && !r.Destroying {
			continue
		}
		if name.IsVended() || len(r.Tokens) == 0 { // or the first system's
			i.recordUnknown(r, "what the store has of a token is damaged")
			if err := i.save(ctx, r); err != nil {
				return err
			}
		}
		if err := i.Store.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// miss notes that there may be a token of which nothing is known.
func (i *Issuer) recordUnknown(r *Record, why string) {
	t := Token{Owner: "(unknown)", Lost: true, Expires: i.now().Add(tokenLife)}
	t.turn(Revoked, i.now(), why)
	r.Tokens = append(r.Tokens, t)
	i.happened(r, Event{Type: Lost, Workspace: r.ID, Owner: t.Owner, Expires: t.Expires, Why: why})
}

// somewhere returns an error where a record that names no owner means nobody: a
// workspace without any token is not what was asked for.
func (i *Issuer) requireAnyOwner(ctx context.Context, r *Record, known installations) error {
	if len(r.Repositories) == 0 || len(ownersOf(r.Repositories, known.installed)) > 0 {
		return nil
	}
	if i.Unready != nil && i.Pool == nil {
		return unresolved{i.Unready}
	}
	_, err := i.App.Resolve(ctx, r.Repositories, r.Permissions, known.installed)
	return err
}

// reach does what Plan says until nothing is left to do. An owner's token is
// minted once: one that does not last, by a clock that is wrong, is all there is.
func (i *Issuer) converge(ctx context.Context, r *Record, held *heldTokens, want Want, known installations) (err error) {
	tried := map[string]bool{}
	var left []Step
	for range maxRounds {
		want.Now, want.Doubt = i.now(), i.doubt()
		steps := slices.DeleteFunc(Plan(r, held.held(), want), func(s Step) bool { return s.Do == Mint && tried[s.Owner] })
		if steps, left = withoutLeft(steps); len(steps) == 0 {
			break
		}
		for _, s := range steps {
			tried[s.Owner] = tried[s.Owner] || s.Do == Mint
		}
		if err = i.applySteps(ctx, r, held, steps, known); err != nil {
			break
		}
	}
	r.keepsUnknown = held.keepsUnknown(r)
	if ctx.Err() != nil || i.isOver(ctx) != nil || errors.Is(err, ErrBusy) {
		return err
	}
	return usererr.Join(err, i.copyOnly(ctx, r.ID, held), foreign(r.ID, left))
}

// round does the steps of one plan. What GitHub refuses for one token does not
// keep the run from the others.
func (i *Issuer) applySteps(ctx context.Context, r *Record, held *heldTokens, steps []Step, known installations) error {
	var refused []error
	for _, s := range steps {
		var err error
		if s.Do == Mint {
			err = i.renew(ctx, r, held, s.Owner, known)
		} else {
			err = i.step(ctx, r, held, s)
		}
		if err == nil {
			continue
		}
		if s.Do == Mint {
			r.failed = append(r.failed, s.Owner)
			i.happened(r, Event{Type: Failed, Workspace: r.ID, Owner: s.Owner, Err: err})
		} else {
			r.remember(PastEvent{At: i.now(), What: failed, Owner: s.Owner, Hash: s.Hash, Why: err.Error()})
		}
		// What is the same for all, as that no App is set up, is said once.
		if !slices.ContainsFunc(refused, func(before error) bool { return before.Error() == err.Error() }) {
			refused = append(refused, err)
		}
		if !isRefusal(err) {
			break
		}
	}
	if r.isDirty && len(refused) == 0 {
		return i.save(ctx, r)
	}
	return usererr.Join(refused...)
}

// isRefusal reports whether an error is about one token and no other: not the
// store's, and not that time is up.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*mint.Error](err)
	return ok || errors.Is(err, mint.ErrWider) || errors.Is(err, errUnresolved)
}

// step does one step that makes no token.
func (i *Issuer) step(ctx context.Context, r *Record, held *heldTokens, s Step) error {
	at := slices.IndexFunc(r.Tokens, func(t Token) bool {
		return t.Hash == s.Hash && (s.Owner == "" || strings.EqualFold(t.Owner, s.Owner)) && (t.State != Revoked || s.Do == Forget)
	})
	var t *Token
	if at >= 0 {
		t = &r.Tokens[at]
	}
	switch s.Do {
	case Adopt:
		r.remember(PastEvent{At: i.now(), What: handed, Owner: t.Owner, Hash: t.Hash, Why: s.Why})
		return i.change(ctx, r, t, Delivered, "")
	case Supersede:
		return i.change(ctx, r, t, Superseded, "")
	case Abandon:
		return i.abandon(ctx, r, t, s.Why)
	case Revoke:
		return i.revoke(ctx, r, held, t, s)
	case Forget:
		return i.forget(ctx, r, held, t, s)
	}
	return fmt.Errorf("there is no step %q", s.Do)
}

// abandon gives a token up whose text nobody has.
func (i *Issuer) abandon(ctx context.Context, r *Record, t *Token, why string) error {
	dies := t.DiesBy()
	if t.State != Planned && dies.After(i.now().Add(-i.doubt())) {
		t.Lost, t.Expires = true, dies
		i.happened(r, Event{Type: Lost, Workspace: r.ID, Owner: t.Owner, Hash: t.Hash, Expires: dies, Why: why})
	}
	return i.change(ctx, r, t, Revoked, why)
}

// revoke ends a token. The ledger is told before the store: were the token gone
// from the store first, the next run would take it for one that was lost alive.
func (i *Issuer) revoke(ctx context.Context, r *Record, held *heldTokens, t *Token, s Step) error {
	token, ok := held.find(s.Hash)
	if !ok {
		return errors.New("the token to revoke is not in the store")
	}
	if err := i.makeWay(ctx, r, held, s.Hash); err != nil {
		return err
	}
	if err := i.App.Revoke(ctx, token); err != nil {
		return err
	}
	i.happened(r, Event{Type: Ended, Workspace: r.ID, Owner: s.Owner, Hash: s.Hash, Why: s.Why})
	return i.forget(ctx, r, held, t, s)
}

// forget deletes a token that is dead. Of one that has run out by itself the record is
// told by whatever is written next: without it, the next run knows that as well.
func (i *Issuer) forget(ctx context.Context, r *Record, held *heldTokens, t *Token, s Step) error {
	switch {
	case t == nil || t.State == Revoked:
	case !t.Expires.After(i.now().Add(-i.doubt())):
		t.turn(Revoked, i.now(), s.Why)
		r.isDirty = true
	default:
		if err := i.change(ctx, r, t, Revoked, s.Why); err != nil {
			return err
		}
	}
	return held.drop(ctx, i.Store, r.ID, s.Hash)
}

// Tidy does for a workspace what Refresh does, but for new tokens: it ends what
// was superseded long enough ago, and what the ledger does not know.
func (i *Issuer) Tidy(ctx context.Context, id string) error {
	return i.locked(ctx, id, func(ctx context.Context) error {
		r, err := i.Load(ctx, id)
		if err != nil || r.Destroying {
			return err
		}
		installed, err := i.stored(ctx)
		if err != nil {
			return err
		}
		held, err := i.list(ctx, r)
		if err != nil {
			return err
		}
		steps := Plan(r, held.held(), i.want(r, ownersOf(r.Repositories, installed)))
		steps = slices.DeleteFunc(steps, func(s Step) bool { return s.Do == Mint || s.Do == Leave })
		return usererr.Join(i.applySteps(ctx, r, held, steps, installations{}), i.copyOnly(ctx, id, held), i.met(ctx, r, held))
	})
}

package workspace

import (
	"context"
	"errors"
	"slices"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// allowed leaves out the owners of whom the workspace is given nothing any more.
func allowed(owners []string, id string, blocks store.Blocks) []string {
	return slices.DeleteFunc(owners, func(owner string) bool { return blocks.Has(id, owner) })
}

// Withdraw revokes the tokens that the workspace can read and is not to have any
// more, because an operator blocked it, an owner or the App ([store.Blocks]). The
// others stay, nothing is minted, and the record stays, too: when the block is
// lifted, the next run gives the workspace its tokens again. Of tokens that
// brokers gave it knows nothing.
func (i *Issuer) Withdraw(ctx context.Context, id string) error {
	return i.locked(ctx, id, func(ctx context.Context) error {
		blocks, err := store.ReadBlocks(ctx, i.Store)
		if err != nil {
			return err
		}
		r, err := i.Load(ctx, id)
		_, isDamaged := errors.AsType[damagedError](err)
		damage := err // what the store has is taken all the same
		switch {
		case errors.Is(err, store.ErrNotFound): // of the first system
			r, damage = &Record{ID: id, Created: i.now(), standsIn: true}, nil
		case isDamaged:
			r = &Record{ID: id, Created: i.now(), standsIn: true, seen: seen{isUnknown: true}}
		case err != nil:
			return err
		}
		held, err := i.list(ctx, r)
		if err == nil {
			err = i.withdraw(ctx, r, held, blocks)
		}
		return usererr.Join(err, damage)
	})
}

func (i *Issuer) withdraw(ctx context.Context, r *Record, held *heldTokens, blocks store.Blocks) error {
	var blocked []Step
	want := i.want(r, allowed(r.tokenOwners(), r.ID, blocks))
	want.Adopt = true // whoever wrote a token
	for _, s := range Plan(r, held.held(), want) {
		isBlocked := blocks.Has(r.ID, s.Owner)
		if (s.Do == Revoke || s.Do == Forget) && isBlocked {
			blocked = append(blocked, s)
		}
	}
	if err := i.applySteps(ctx, r, held, blocked, installations{}); err != nil {
		return err
	}
	return usererr.Join(i.copyOnly(ctx, r.ID, held), i.met(ctx, r, held))
}

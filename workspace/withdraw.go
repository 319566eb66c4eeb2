package workspace

import (
	"context"
	"errors"
	"slices"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/store"
)

// allowed leaves out the owners of whom the workspace is given nothing any more.
func allowed(owners []string, id string, bars store.Bars) []string {
	return slices.DeleteFunc(owners, func(owner string) bool { return bars.Has(id, owner) })
}

// Withdraw revokes the tokens that the workspace can read and is not to have any
// more, because an operator barred it, an owner or the App ([store.Bars]). The
// others stay, nothing is minted, and the record stays, too: when the bar is
// lifted, the next run gives the workspace its tokens again. Of tokens that
// brokers gave it knows nothing.
func (i *Issuer) Withdraw(ctx context.Context, id string) error {
	return i.locked(ctx, id, func(ctx context.Context) error {
		bars, err := store.ReadBars(ctx, i.Store)
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
			err = i.withdraw(ctx, r, held, bars)
		}
		return oneline.Join(err, damage)
	})
}

func (i *Issuer) withdraw(ctx context.Context, r *Record, held *holdings, bars store.Bars) error {
	var barred []Step
	want := i.want(r, allowed(r.tokenOwners(), r.ID, bars))
	want.Adopt = true // whoever wrote a token
	for _, s := range Plan(r, held.held(), want) {
		isBarred := bars.Has(r.ID, s.Owner)
		if (s.Do == Revoke || s.Do == Forget) && isBarred {
			barred = append(barred, s)
		}
	}
	if err := i.round(ctx, r, held, barred, knowledge{}); err != nil {
		return err
	}
	return oneline.Join(i.copyOnly(ctx, r.ID, held), i.met(ctx, r, held))
}

package workspace

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/store"
)

// A Condition is how a workspace is, in one word.
type Condition string

// The conditions.
const (
	Ready    Condition = "ready"      // every owner has a token that works
	Failing  Condition = "failing"    // so it is, and the latest run failed: the tokens are not replaced
	Pending  Condition = "pending"    // an owner has no token yet
	Expired  Condition = "expired"    // an owner's token has run out
	Ending   Condition = "destroying" // its destruction has begun
	NoAccess Condition = "no access"  // its profile names no repositories
)

// Condition says how the workspace is by its record.
func (r *Record) Condition(now time.Time) Condition {
	switch {
	case r.Destroying:
		return Ending
	case len(r.Repositories) == 0:
		return NoAccess
	}
	owners := ownersOf(r.Repositories, nil)
	ends := r.ends()
	for _, end := range ends {
		if !end.After(now) {
			return Expired
		}
	}
	for _, owner := range owners {
		if _, ok := ends[owner]; !ok {
			return Pending
		}
	}
	switch {
	case len(ends) == 0: // "*", and no installation is known
		return Pending
	case r.LastError != nil:
		return Failing
	}
	return Ready
}

// ends are when the delivered tokens end, by owner in lower case.
func (r *Record) ends() map[string]time.Time {
	ends := map[string]time.Time{}
	for _, t := range r.Tokens {
		if owner := strings.ToLower(t.Owner); t.State == Delivered && t.Expires.After(ends[owner]) {
			ends[owner] = t.Expires
		}
	}
	return ends
}

// Soonest is when the first of the owners' tokens ends; zero for none.
func (r *Record) Soonest() time.Time {
	var first time.Time
	for _, end := range r.ends() {
		if first.IsZero() || end.Before(first) {
			first = end
		}
	}
	return first
}

// Owners are the accounts, in lower case, that have a token or are to have one.
func (r *Record) Owners() []string {
	owners := ownersOf(r.Repositories, nil)
	for owner := range r.ends() {
		owners = append(owners, owner)
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// Inspect reads the workspace's record, and what a run would do now, and changes
// nothing. GitHub is asked for the time alone.
func (i *Issuer) Inspect(ctx context.Context, id string) (*Record, []Step, error) {
	i.Sync(ctx)
	r, err := i.Load(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	installed, err := i.stored(ctx)
	if err != nil {
		return nil, nil, err
	}
	blocks, err := store.ReadBlocks(ctx, i.Store)
	if err != nil {
		return nil, nil, err
	}
	owners := allowed(ownersOf(r.Repositories, installed), r.ID, blocks)
	held, err := i.loadHeld(ctx, r, owners)
	if err != nil {
		return nil, nil, err
	}
	return r, Plan(r, held.held(), i.want(r, owners)), nil
}

package workspace

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// due returns when a pass has something to do for the workspace by its record alone, with
// the margin and grace of want: now, or a later time. The zero time means never. A store
// that is Indexed keeps it with the record, so that a pass reads what is due and no more.
// It is never later than a pass with that margin and grace finds the workspace due.
//
// Blocks do not count: a workspace that has no token because it is blocked is due now, so
// that the first pass after the block finds it.
func (r *Record) due(want Want) time.Time {
	if r.Destroying || r.LastError != nil && r.LastError.Foreign {
		return want.Now
	}
	owners, isKnown := r.wantedOwners()
	if !isKnown {
		return want.Now
	}
	var next time.Time
	current := map[string]bool{} // owners with a delivered token
	for _, t := range r.Tokens {
		owner := strings.ToLower(t.Owner)
		isWanted := slices.Contains(owners, owner) && t.isFor(r.Grant(owner))
		switch {
		case t.State == Revoked, t.State == Superseded && !t.Expires.After(want.Now.Add(-want.Doubt)):
		case t.State == Superseded && isWanted:
			if end := t.Changed.Add(want.Grace); end.Before(t.Expires) {
				next = sooner(next, end)
			}
		case t.State == Delivered && isWanted && !current[owner]:
			current[owner] = true
			next = sooner(next, t.lastsUntil(want.Margin))
		default:
			return want.Now
		}
	}
	if slices.ContainsFunc(owners, func(owner string) bool { return !current[owner] }) || next.Before(want.Now) && !next.IsZero() {
		return want.Now
	}
	return next
}

// wantedOwners are the accounts, in lower case, that are to have a token. isKnown is
// false where that depends on installations and this run has not looked them up.
func (r *Record) wantedOwners() (owners []string, isKnown bool) {
	if r.wanted != nil {
		return r.wanted, true
	}
	owners = ownersOf(r.Repositories, nil)
	if !slices.ContainsFunc(r.Repositories, mint.Pattern.Everything) {
		return owners, true
	}
	for _, t := range r.Tokens {
		if t.State == Delivered {
			owners = append(owners, strings.ToLower(t.Owner))
		}
	}
	return owners, len(owners) > 0
}

// sooner returns the earlier of two times; zero is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// newInstallation is for how long after an installation was written a pass reads all
// records: "*" in a record means that installation as well. It is longer than it takes
// from one pass to the next.
const newInstallation = DefaultMargin

// records yields the records that may have something due: those that the store's index
// says, or all of them.
func (w *worker) records(ctx context.Context) iter.Seq2[Found, error] {
	index, ok := w.issuer.Store.(store.Indexed)
	now := w.issuer.now()
	if !ok || w.pass.Force || now.Sub(w.issuer.cache.latest()) < newInstallation {
		return Records(ctx, w.issuer.Store)
	}
	w.sum.IsPart = true
	return found(index.Due(ctx, store.Workspaces(), now.Add(time.Second), 0))
}

// To find out which token ends first, up to lookAhead records are read, among at most
// maxAhead entries that are due next. Tokens that brokers gave are such entries, too.
const (
	lookAhead = 20
	maxAhead  = 200
)

// ahead notes the ends of the tokens that are due next. Those that were due, the summary
// knows.
func (w *worker) ahead(ctx context.Context) error {
	index, ok := w.issuer.Store.(store.Indexed)
	if !ok || !w.sum.IsPart {
		return nil
	}
	blocked, records := len(w.blocks.Workspaces), 0 // those are due all the time
	for f, err := range found(index.Due(ctx, store.Workspaces(), w.issuer.now().Add(2*tokenLife), maxAhead+blocked)) {
		if err != nil {
			return err
		}
		if f.Err == nil {
			w.sum.note(f.Record.Soonest())
		}
		if records++; records == lookAhead+blocked {
			return nil
		}
	}
	return nil
}

package revoke

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

const (
	// settleTime is how long after a block another replica may still record a token that
	// it gave before it read the block.
	settleTime = 2 * time.Minute
	// checkEvery is the time between two checks for new blocks, and the least time
	// between two checks for tokens of one target.
	checkEvery = 5 * time.Second
	// maxTargets limits the targets of one call of Reconcile.
	maxTargets = 100
)

// reconciler is the state between calls of Reconcile.
type reconciler struct {
	mu        sync.Mutex // guards the rest; held while one call runs
	lease     store.Lease
	nextCheck time.Time // the next check for new blocks
	targets   map[blocklist.Target]*targetState
	isNew     bool // this replica has just got the lease
}

// targetState is the state of a block.
type targetState struct {
	since         time.Time // when the target was blocked, as far as this replica knows
	nextCheck     time.Time // the next check for new blocks
	done          bool
	isTimeUnknown bool // the block is older than this replica's lease, and its time has not been read
}

// A Reconciled says what one call did.
type Reconciled struct {
	Revoked int // tokens
}

// Reconcile finishes what any replica began: it revokes what blocked targets still
// hold, even if the replica that blocked them has died. One replica does this for all,
// under a lease, once for each block, the most recent first. Each call does a limited
// part; the next goes on. Every replica calls it every few seconds; if another replica
// has the lease, it returns at once.
func (r *Revoker) Reconcile(ctx context.Context) (done Reconciled, err error) {
	known := &r.reconciler
	known.mu.Lock()
	defer known.mu.Unlock()
	if isHeld, err := r.holdLease(ctx); !isHeld {
		return done, err
	}
	now := r.Now()
	if now.Before(known.nextCheck) {
		return done, r.readBlockTime(ctx, now)
	}
	known.nextCheck = now.Add(checkEvery)
	blocks, err := r.Blocklist.All(ctx)
	if err != nil {
		return done, err
	}
	if err := r.trackTargets(ctx, blocks, now); err != nil {
		return done, err
	}
	var errs []error
	for _, t := range known.due(now) {
		if isHeld, err := r.holdLease(ctx); !isHeld {
			return done, usererr.Join(append(errs, err)...)
		}
		revoked, err := r.revokeTarget(ctx, t, known.targets[t])
		done.Revoked += revoked
		errs = append(errs, err)
	}
	r.progress.settled(known.settled())
	return done, usererr.Join(errs...)
}

// trackTargets records which targets are blocked. The lease's note says which of them were done
// under the last holder. If it does not, a block in the log of the block list counts as
// recent, unless the log is old; for the others, the time of the block is read later.
func (r *Revoker) trackTargets(ctx context.Context, blocks store.Blocks, now time.Time) error {
	known := &r.reconciler
	targets := targetsOf(blocks)
	isSettled := known.isNew && r.progress.isSettled(targets)
	recent := store.NewBlocks()
	if known.isNew && !isSettled {
		log, err := store.ReadBlockLog(ctx, r.Store)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if now.Sub(log.Changed) <= markLife+settleTime {
			recent = store.NewBlocks(log.Recent()...)
		}
	}
	next := map[blocklist.Target]*targetState{}
	for _, t := range targets {
		s := known.targets[t]
		if s == nil {
			s = &targetState{since: now, done: isSettled, isTimeUnknown: known.isNew && !isIn(recent, t)}
		}
		next[t] = s
	}
	known.targets, known.isNew = next, false
	return nil
}

// isIn reports whether the target is in blocks.
func isIn(blocks store.Blocks, t blocklist.Target) bool {
	return t.App && blocks.App || t.Owner != "" && blocks.Owners[t.Owner] || t.Workspace != "" && blocks.Workspaces[t.Workspace]
}

// readBlockTime reads when one target was blocked. One that was blocked longer ago than tokens
// live holds none.
func (r *Revoker) readBlockTime(ctx context.Context, now time.Time) error {
	for t, s := range r.reconciler.targets {
		if s.done || !s.isTimeUnknown {
			continue
		}
		if now.Sub(s.since) > markLife+settleTime {
			s.done = true
			continue
		}
		name, err := t.Name()
		if err != nil {
			return err
		}
		entry, err := r.Store.Get(ctx, name)
		switch {
		case err == nil:
			s.since = entry.Modified
			s.done = now.Sub(s.since) > markLife+settleTime
		case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged):
			return err
		}
		s.isTimeUnknown = false
		return nil
	}
	return nil
}

// due returns the targets to look at now, the most recent first, and maxTargets at most.
func (r *reconciler) due(now time.Time) []blocklist.Target {
	var due []blocklist.Target
	for t, s := range r.targets {
		if !s.done && !s.isTimeUnknown && !now.Before(s.nextCheck) {
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b blocklist.Target) int {
		return cmp.Or(r.targets[b].since.Compare(r.targets[a].since), cmp.Compare(a.String(), b.String()))
	})
	return due[:min(maxTargets, len(due))]
}

// settled returns the targets that hold nothing.
func (r *reconciler) settled() []blocklist.Target {
	var settled []blocklist.Target
	for t, s := range r.targets {
		if s.done {
			settled = append(settled, t)
		}
	}
	return settled
}

// targetsOf lists the blocked targets.
func targetsOf(blocks store.Blocks) []blocklist.Target {
	var targets []blocklist.Target
	if blocks.App {
		targets = append(targets, blocklist.Target{App: true})
	}
	for _, owner := range slices.Sorted(maps.Keys(blocks.Owners)) {
		targets = append(targets, blocklist.Target{Owner: owner})
	}
	for _, id := range slices.Sorted(maps.Keys(blocks.Workspaces)) {
		targets = append(targets, blocklist.Target{Workspace: id})
	}
	return targets
}

// revokeTarget revokes what a target holds, and returns the number of tokens. The target is
// done if it holds nothing two minutes after the block. Until then it is checked less
// and less often.
func (r *Revoker) revokeTarget(ctx context.Context, t blocklist.Target, s *targetState) (revoked int, err error) {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	now := r.Now()
	sweep := &sweep{revoker: r, by: broker.Entry{Kind: broker.KindRevoked, Target: t.String(), Subject: "reconcile", Policy: r.Policy(), Decision: broker.Granted}}
	err = sweep.target(ctx, t)
	if t.Workspace != "" {
		sweep.revokeSharers(ctx)
		err = errors.Join(sweep.errs...)
	}
	age := now.Sub(s.since)
	s.done = err == nil && age >= settleTime
	if s.nextCheck = now.Add(checkEvery); err == nil {
		s.nextCheck = now.Add(min(max(checkEvery, age/2), settleTime/2))
	}
	return len(sweep.revoked), errors.Join(err, sweep.auditErr)
}

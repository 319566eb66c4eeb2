package revoke

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/store"
)

const (
	// settleTime is how long after a block another replica may still record a token that
	// it gave before it read the block.
	settleTime = 2 * time.Minute
	// lookEvery is between two looks for new blocks, and at least between two looks for
	// tokens of a target that settles.
	lookEvery = 5 * time.Second
	// maxTargets bounds one call of Reconcile.
	maxTargets = 100
)

// reconciler is what one call of Reconcile leaves for the next.
type reconciler struct {
	mu      sync.Mutex // guards the rest; held while one call runs
	lease   store.Lease
	look    time.Time // not before this
	targets map[broker.Target]*settling
	isNew   bool // this replica has just taken the lease
}

// settling is the state of a block.
type settling struct {
	since time.Time // when it was made, as far as this replica knows
	again time.Time // not before this
	done  bool
}

// A Reconciled is what one call did.
type Reconciled struct {
	Revoked int // tokens
}

// Reconcile finishes what any replica began: it revokes what blocked targets still hold,
// even if the replica that blocked them has died. One replica does that for all of them,
// under a lease, and once for each block, the most recent first. One call does a bounded
// part, and the next goes on. Every replica calls it every few seconds; where another
// replica has the lease it returns at once.
func (r *Revoker) Reconcile(ctx context.Context) (done Reconciled, err error) {
	known := &r.reconciler
	known.mu.Lock()
	defer known.mu.Unlock()
	if isHeld, err := r.hold(ctx); !isHeld {
		return done, err
	}
	now := r.Now()
	if now.Before(known.look) {
		return done, nil
	}
	known.look = now.Add(lookEvery)
	bars, err := r.Bars.All(ctx)
	if err != nil {
		return done, err
	}
	if err := r.follow(ctx, bars, now); err != nil {
		return done, err
	}
	var errs []error
	for _, t := range known.due(now) {
		if isHeld, err := r.hold(ctx); !isHeld {
			return done, oneline.Join(append(errs, err)...)
		}
		revoked, err := r.settle(ctx, t, known.targets[t])
		done.Revoked += revoked
		errs = append(errs, err)
	}
	r.progress.settled(known.settled())
	return done, oneline.Join(errs...)
}

// follow makes known which targets are blocked. Which of them settled under the holder of
// the lease before, the lease's note says.
func (r *Revoker) follow(ctx context.Context, bars store.Bars, now time.Time) error {
	known := &r.reconciler
	targets := targetsOf(bars)
	if known.isNew && r.progress.isSettled(targets) {
		known.targets = map[broker.Target]*settling{}
		for _, t := range targets {
			known.targets[t] = &settling{done: true}
		}
	}
	next := map[broker.Target]*settling{}
	for _, t := range targets {
		s := known.targets[t]
		if s == nil && known.isNew {
			var err error
			if s, err = r.recall(ctx, t, now); err != nil {
				return err
			}
			known.targets[t] = s // where time is up, the next call goes on
		}
		if s == nil {
			s = &settling{since: now}
		}
		next[t] = s
	}
	known.targets, known.isNew = next, false
	return nil
}

// recall reads when a target was blocked that this replica has not seen before. Whoever was
// blocked for longer than tokens live holds none.
func (r *Revoker) recall(ctx context.Context, t broker.Target, now time.Time) (*settling, error) {
	name, err := t.Name()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	entry, err := r.Store.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) {
		return &settling{since: now}, nil
	}
	if err != nil {
		return nil, err
	}
	s := &settling{since: entry.Modified}
	s.done = now.Sub(s.since) > markLife+settleTime
	return s, pause(ctx, recallPause, time.Since(began))
}

// due returns the targets to look at now, the most recent first, and maxTargets at most.
func (r *reconciler) due(now time.Time) []broker.Target {
	var due []broker.Target
	for t, s := range r.targets {
		if !s.done && !now.Before(s.again) {
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b broker.Target) int {
		return cmp.Or(r.targets[b].since.Compare(r.targets[a].since), cmp.Compare(a.String(), b.String()))
	})
	return due[:min(maxTargets, len(due))]
}

// settled are the targets that hold nothing.
func (r *reconciler) settled() []broker.Target {
	var settled []broker.Target
	for t, s := range r.targets {
		if s.done {
			settled = append(settled, t)
		}
	}
	return settled
}

// targetsOf lists what is blocked.
func targetsOf(bars store.Bars) []broker.Target {
	var targets []broker.Target
	if bars.App {
		targets = append(targets, broker.Target{App: true})
	}
	for _, owner := range slices.Sorted(maps.Keys(bars.Owners)) {
		targets = append(targets, broker.Target{Owner: owner})
	}
	for _, id := range slices.Sorted(maps.Keys(bars.Workspaces)) {
		targets = append(targets, broker.Target{Workspace: id})
	}
	return targets
}

// settle revokes what a target holds, and returns how many tokens that were. The target is
// done when it holds nothing two minutes after the block. Until then it is looked at less
// and less often.
func (r *Revoker) settle(ctx context.Context, t broker.Target, s *settling) (revoked int, err error) {
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	now := r.Now()
	sweep := &sweep{r: r, by: broker.Entry{Kind: broker.KindRevoked, Target: t.String(), Subject: "reconcile", Policy: r.Policy(), Decision: broker.Granted}}
	err = sweep.target(ctx, t)
	age := now.Sub(s.since)
	s.done = err == nil && age >= settleTime
	if s.again = now.Add(lookEvery); err == nil {
		s.again = now.Add(min(max(lookEvery, age/2), settleTime/2))
	}
	return len(sweep.revoked), errors.Join(err, sweep.unwritten)
}

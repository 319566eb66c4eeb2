package revoke

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/store"
)

const (
	// settleTime is how long after a bar another replica may still record a token that
	// it gave before it read the bar.
	settleTime = 2 * time.Minute
	// lookEvery is between two looks for tokens of a target that settles.
	lookEvery = 5 * time.Second
	// tidyEvery is between two looks for expired entries.
	tidyEvery = 5 * time.Minute
	// maxTargets and maxTidied bound one call of Reconcile.
	maxTargets = 100
	maxTidied  = 500
	// A mark is needed until its token expires, and a delivery for the three days in
	// which GitHub can send it again.
	markLife     = 65 * time.Minute
	deliveryLife = 7 * 24 * time.Hour
	// spentLag is what the clocks of replicas may differ by.
	spentLag    = 5 * time.Minute
	unknownLife = 30 * 24 * time.Hour
)

// reconciler is what one call of Reconcile leaves for the next.
type reconciler struct {
	mu      sync.Mutex // guards the rest; held while one call runs
	targets map[broker.Target]*settling
	ends    map[store.Name]time.Time // when entries may be deleted, so that each is read once
	left    []store.Name             // still to be tidied in this round
	tidied  time.Time                // when the last round began
}

// settling is the state of a bar.
type settling struct {
	since time.Time // when this replica saw it first
	again time.Time // not before this
	done  bool
}

// A Reconciled is what one call did.
type Reconciled struct {
	Revoked int // tokens
	Deleted int // expired entries of the store
}

// Reconcile finishes what any replica began: it revokes what barred targets still hold,
// even if the replica that barred them has died, and deletes expired entries from the
// store. One call does a bounded part, and the next goes on. Every replica calls it every
// few seconds.
func (r *Revoker) Reconcile(ctx context.Context) (done Reconciled, err error) {
	known := &r.reconciler
	known.mu.Lock()
	defer known.mu.Unlock()
	bars, err := store.ReadBars(ctx, r.Store)
	if err != nil {
		return done, err
	}
	now := r.Now()
	var errs []error
	for _, t := range known.due(bars, now) {
		revoked, err := r.settle(ctx, t, known.targets[t])
		done.Revoked += revoked
		errs = append(errs, err)
	}
	done.Deleted, err = r.tidy(ctx, now)
	return done, oneline.Join(append(errs, err)...)
}

// due returns the targets to look at now, 100 at most.
func (r *reconciler) due(bars store.Bars, now time.Time) []broker.Target {
	known := map[broker.Target]*settling{}
	var due []broker.Target
	for _, t := range targetsOf(bars) {
		s := r.targets[t]
		if s == nil {
			s = &settling{since: now}
		}
		known[t] = s
		if !s.done && !now.Before(s.again) && len(due) < maxTargets {
			due = append(due, t)
		}
	}
	r.targets = known
	return due
}

// targetsOf lists bars, those of most effect first.
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
// done when it holds nothing two minutes after the bar.
func (r *Revoker) settle(ctx context.Context, t broker.Target, s *settling) (revoked int, err error) {
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	now := r.Now()
	sweep := &sweep{r: r, by: broker.Entry{Kind: broker.KindRevoked, Target: t.String(), Subject: "reconcile", Policy: r.Policy(), Decision: broker.Granted}}
	err = sweep.target(ctx, t)
	s.again = now.Add(lookEvery)
	s.done = err == nil && now.Sub(s.since) >= settleTime
	return len(sweep.revoked), errors.Join(err, sweep.unwritten)
}

// tidy deletes expired entries, and returns how many.
func (r *Revoker) tidy(ctx context.Context, now time.Time) (deleted int, err error) {
	known := &r.reconciler
	if len(known.left) == 0 {
		if now.Sub(known.tidied) < tidyEvery {
			return 0, nil
		}
		left, err := r.perishable(ctx)
		if err != nil {
			return 0, err
		}
		known.left, known.tidied = left, now
		known.keep(left)
	}
	batch := known.left[:min(maxTidied, len(known.left))]
	known.left = known.left[len(batch):]
	ends := make([]time.Time, len(batch))
	errs := make([]error, len(batch))
	var running errgroup.Group
	running.SetLimit(workers)
	for i, name := range batch {
		running.Go(func() error {
			ends[i], errs[i] = r.tidyOne(ctx, name, known.ends[name], now)
			return nil
		})
	}
	_ = running.Wait() // errs has them
	for i, name := range batch {
		if !ends[i].IsZero() {
			known.ends[name] = ends[i]
			continue
		}
		delete(known.ends, name)
		if errs[i] == nil {
			deleted++
		}
	}
	return deleted, oneline.Join(errs...)
}

// keep forgets entries that were deleted.
func (r *reconciler) keep(names []store.Name) {
	ends := map[store.Name]time.Time{}
	for _, name := range names {
		if end, ok := r.ends[name]; ok {
			ends[name] = end
		}
	}
	r.ends = ends
}

// perishable lists the entries that expire.
func (r *Revoker) perishable(ctx context.Context) ([]store.Name, error) {
	var names []store.Name
	for _, below := range []store.Prefix{store.Workspaces(), store.AllBars(), store.Deliveries(), store.AllSpent(), store.AllShared()} {
		for name, err := range r.Store.List(ctx, below) {
			if err != nil {
				return nil, err
			}
			if name.IsVended() || name.IsBarredToken() || name.IsShared() || store.Deliveries().Has(name) || store.AllSpent().Has(name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// tidyOne deletes an entry if it has expired. It returns when a live entry expires, and
// zero for a deleted one.
func (r *Revoker) tidyOne(ctx context.Context, name store.Name, end, now time.Time) (time.Time, error) {
	if ends, ok := name.Ends(); ok {
		end = ends.Add(store.TokenGrace)
	}
	if end.IsZero() {
		entry, err := r.Store.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			return time.Time{}, nil
		}
		if errors.Is(err, store.ErrDamaged) { // its age is not known
			r.Log.ErrorContext(ctx, "an entry is damaged; it is deleted when it would have run out, had it been written now", "error", err)
			entry, err = store.Entry{Modified: now}, nil
		}
		if err != nil {
			return time.Time{}, err
		}
		end = endOf(name, entry)
	}
	if name.IsVended() || name.IsBarredToken() || name.IsShared() {
		now = r.TokenTime()
	}
	if end.After(now) {
		return end, nil
	}
	return time.Time{}, r.Store.Delete(ctx, name)
}

// endOf returns when an entry expires whose name does not say it.
func endOf(name store.Name, entry store.Entry) time.Time {
	switch {
	case name.IsVended():
		return broker.ReadVended(entry).Token.Expiry.Add(store.TokenGrace)
	case name.IsBarredToken():
		return entry.Modified.Add(markLife)
	case store.AllSpent().Has(name):
		until, err := store.ClaimedUntil(entry)
		if err != nil { // not known; later than any token that a broker takes
			until = entry.Modified.Add(unknownLife)
		}
		return until.Add(spentLag)
	}
	return entry.Modified.Add(deliveryLife)
}

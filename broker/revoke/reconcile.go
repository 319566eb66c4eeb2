package console

import (
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
	// settleTime is for how long after a bar replicas may still write down what
	// they gave before they knew of it.
	settleTime = 2 * time.Minute
	// lookEvery is between two looks at what a settling target has.
	lookEvery = 5 * time.Second
	// tidyEvery is between two looks for what has run out.
	tidyEvery = 5 * time.Minute
	// maxTargets and maxTidied bound one call of Reconcile.
	maxTargets = 100
	maxTidied  = 500
	// A mark is of no use once the token has run out, and a delivery is not sent
	// again after GitHub's three days.
	markLife     = 65 * time.Minute
	deliveryLife = 7 * 24 * time.Hour
	// spentLag is what the clocks of replicas may differ by.
	spentLag    = 5 * time.Minute
	unknownLife = 30 * 24 * time.Hour
)

// reconciler remembers what a call left to the next.
type reconciler struct {
	mu      sync.Mutex // guards the rest; held while one call runs
	targets map[broker.Target]*settling
	ends    map[store.Name]time.Time // when entries may be deleted, so that each is read once
	left    []store.Name             // still to be tidied in this round
	tidied  time.Time                // when the last round began
}

// settling is what is known of a bar.
type settling struct {
	since time.Time // when this replica saw it first
	again time.Time // not before this
	done  bool
}

// A Reconciled is what one call did.
type Reconciled struct {
	Revoked int // tokens
	Deleted int // entries of the store that had run out
}

// Reconcile finishes what was begun: it revokes what barred workspaces and owners
// still have, whoever barred them and whether or not the broker that did lives on,
// and deletes from the store what has run out. A call does a bounded part; the
// next goes on. It is to be called every few seconds, by any number of replicas.
func (c *Console) Reconcile(ctx context.Context) (done Reconciled, err error) {
	r := &c.reconciler
	r.mu.Lock()
	defer r.mu.Unlock()
	bars, err := store.ReadBars(ctx, c.Store)
	if err != nil {
		return done, err
	}
	now := c.now()
	var errs []error
	for _, t := range r.due(bars, now) {
		revoked, err := c.settle(ctx, t, r.targets[t])
		done.Revoked += revoked
		errs = append(errs, err)
	}
	done.Deleted, err = c.tidy(ctx, now)
	return done, oneline.Join(append(errs, err)...)
}

// due are the targets to look at, a bounded number of them.
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

// settle revokes what a target has, and returns how many tokens that were. It is
// done when nothing was left a while after the bar.
func (c *Console) settle(ctx context.Context, t broker.Target, s *settling) (revoked int, err error) {
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	now := c.now()
	sweep := &sweep{c: c, by: broker.Entry{Kind: broker.KindRevoked, Target: t.String(), Subject: "reconcile", Policy: c.Server.Policy().Hash, Decision: broker.Granted}}
	err = sweep.target(ctx, t, everything)
	s.again = now.Add(lookEvery)
	s.done = err == nil && now.Sub(s.since) >= settleTime
	return len(sweep.revoked), errors.Join(err, sweep.unwritten)
}

// tidy deletes what has run out, and returns how much that was.
func (c *Console) tidy(ctx context.Context, now time.Time) (deleted int, err error) {
	r := &c.reconciler
	if len(r.left) == 0 {
		if now.Sub(r.tidied) < tidyEvery {
			return 0, nil
		}
		left, err := c.perishable(ctx)
		if err != nil {
			return 0, err
		}
		r.left, r.tidied = left, now
		r.keep(left)
	}
	batch := r.left[:min(maxTidied, len(r.left))]
	r.left = r.left[len(batch):]
	ends := make([]time.Time, len(batch))
	errs := make([]error, len(batch))
	each(len(batch), func(i int) {
		ends[i], errs[i] = c.tidyOne(ctx, batch[i], r.ends[batch[i]], now)
	})
	for i, name := range batch {
		if !ends[i].IsZero() {
			r.ends[name] = ends[i]
			continue
		}
		delete(r.ends, name)
		if errs[i] == nil {
			deleted++
		}
	}
	return deleted, oneline.Join(errs...)
}

// keep forgets what is not there any more.
func (r *reconciler) keep(names []store.Name) {
	ends := map[store.Name]time.Time{}
	for _, name := range names {
		if end, ok := r.ends[name]; ok {
			ends[name] = end
		}
	}
	r.ends = ends
}

// perishable lists what runs out.
func (c *Console) perishable(ctx context.Context) ([]store.Name, error) {
	var names []store.Name
	for _, below := range []store.Prefix{store.Workspaces(), store.AllBars(), store.Deliveries(), store.AllSpent()} {
		for name, err := range c.Store.List(ctx, below) {
			if err != nil {
				return nil, err
			}
			if name.IsVended() || name.IsBarredToken() || store.Deliveries().Has(name) || store.AllSpent().Has(name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// tidyOne deletes an entry that has run out. It returns when one that has not
// does, and zero for one that is gone.
func (c *Console) tidyOne(ctx context.Context, name store.Name, end, now time.Time) (time.Time, error) {
	if end.IsZero() {
		entry, err := c.Store.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			return time.Time{}, nil
		}
		if errors.Is(err, store.ErrDamaged) { // nobody can tell since when it is there
			c.log(ctx, "an entry is damaged; it is deleted when it would have run out, had it been written now", err)
			entry, err = store.Entry{Modified: now}, nil
		}
		if err != nil {
			return time.Time{}, err
		}
		end = endOf(name, entry)
	}
	if name.IsVended() {
		now = c.tokenTime()
	}
	if end.After(now) {
		return end, nil
	}
	return time.Time{}, c.Store.Delete(ctx, name)
}

// endOf is when an entry is of no use any more. A clock that is a little off does
// not make a token that lives unknown.
func endOf(name store.Name, entry store.Entry) time.Time {
	switch {
	case name.IsVended():
		return broker.ReadVended(entry).Token.Expiry.Add(time.Minute)
	case name.IsBarredToken():
		return entry.Modified.Add(markLife)
	case store.AllSpent().Has(name):
		until, err := store.ClaimedUntil(entry)
		if err != nil { // nobody can tell; later than any token that a broker takes
			until = entry.Modified.Add(unknownLife)
		}
		return until.Add(spentLag)
	}
	return entry.Modified.Add(deliveryLife)
}

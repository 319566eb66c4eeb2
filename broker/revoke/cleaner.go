package revoke

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

// The pace of cleaning: the least pause after each call. The pause is paceFactor times
// as long as the call took, so that a busy store gets fewer calls, but at most
// maxPause.
const (
	// busyPause and deletePause are for stores without an index or pages, and idlePause
	// for these and for stores that need several calls for a page.
	// AWS's Parameter Store answers 40 reads and 5 deletes per second for a whole
	// account. Cleaning takes a twelfth of the reads, and while no workspace makes
	// requests, less than one per second.
	busyPause   = 300 * time.Millisecond
	idlePause   = 1500 * time.Millisecond
	deletePause = 300 * time.Millisecond
	// idleAfter is how long after the last request of a workspace this replica counts
	// as idle.
	idleAfter    = 30 * time.Second
	indexedPause = 10 * time.Millisecond // for all other stores
	paceFactor   = 2
	maxPause     = 5 * time.Second

	// cleanPage is how many names one call asks for.
	cleanPage = 500
	// dueSize is how many expired entries one call asks for.
	dueSize = 200
	// removeSize is how many entries one call deletes, if the store can delete several.
	removeSize = 10
)

const (
	// cleanEvery is the time between two rounds. After a round with many calls for names
	// while workspaces made requests, the next one waits idlePerCall for each of these
	// calls, so that a store with small pages gets less than one call per second on
	// average.
	cleanEvery  = 5 * time.Minute
	cleanAgain  = 30 * time.Second // after a failure of the store
	idlePerCall = time.Second
	maxIdle     = 6 * time.Hour
	// logAfter is how long a replica must have the lease before it makes a log of the
	// block list in a store without one. By then no older replica, which would not
	// write the log, is left.
	logAfter = 10 * time.Minute

	// A mark is needed until its token expires. A delivery is needed for the three days
	// in which GitHub can send it again.
	markLife    = 65 * time.Minute
	unknownLife = 30 * 24 * time.Hour
)

// A cleaner deletes expired entries from the store.
type cleaner struct {
	*Config
	progress *progress

	mu   sync.Mutex               // guards the rest; held while one call runs
	ends map[store.Name]time.Time // expiry of entries whose names do not tell it, so that each is read once
}

// folders returns the folders with entries that expire. Their order is part of the
// format of notes.
func folders() []store.Prefix {
	return []store.Prefix{store.Workspaces(), store.AllBlocks(), store.Deliveries(), store.UsedProofs(), store.AllShared()}
}

// expires reports whether an entry is deleted when it has expired.
func expires(n store.Name) bool {
	return n.IsVended() || n.IsBlockedToken() || n.IsShared() || store.Deliveries().Has(n) || store.UsedProofs().Has(n)
}

// errNotHolder ends a round that another replica goes on with.
var errNotHolder = errors.New("another replica has the lease")

// DeleteExpired deletes expired entries from the store, if this replica has the lease
// ([Revoker.Reconcile] takes it) and a round is due. It returns how many it deleted. It
// pauses after each call of the store, so that requests come first, and may take hours.
// If ctx ends or the lease is lost, this replica or another goes on from there.
func (r *Revoker) DeleteExpired(ctx context.Context) (deleted int, err error) {
	return r.cleaner.run(ctx)
}

func (c *cleaner) run(ctx context.Context) (deleted int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, n := c.Now(), c.progress.get()
	if !c.progress.isHolder(now) || now.Before(n.Next) || c.isClockUnknown(now) {
		return 0, nil
	}
	for i, below := range folders() {
		if i < n.Folder {
			continue
		}
		some, err := c.cleanFolder(ctx, below)
		if deleted += some; errors.Is(err, errNotHolder) {
			return deleted, nil
		}
		if err != nil {
			if ctx.Err() == nil {
				c.progress.change(func(n *note) { n.Next = c.Now().Add(cleanAgain) })
			}
			return deleted, err
		}
		c.progress.change(func(n *note) { n.Folder, n.After = i+1, "" })
	}
	c.scheduleNext()
	return deleted, c.makeLog(ctx)
}

// isClockUnknown reports whether this replica has just got the lease and does not know
// GitHub's clock yet. Until then, no token counts as expired.
func (c *cleaner) isClockUnknown(now time.Time) bool {
	c.progress.mu.Lock()
	defer c.progress.mu.Unlock()
	return now.Sub(c.TokenTime()) > time.Hour && now.Sub(c.progress.since) < cleanEvery
}

// scheduleNext ends a round and schedules the next one.
func (c *cleaner) scheduleNext() {
	now := c.Now()
	maps.DeleteFunc(c.ends, func(_ store.Name, end time.Time) bool { return now.Sub(end) > time.Hour })
	c.progress.change(func(n *note) {
		rest := min(max(cleanEvery, time.Duration(n.Asked)*idlePerCall), maxIdle)
		n.Folder, n.After, n.Asked, n.Next = 0, "", 0, now.Add(rest)
	})
}

// makeLog makes a log of the block list if the store has none.
func (c *cleaner) makeLog(ctx context.Context) error {
	c.progress.mu.Lock()
	since := c.progress.since
	c.progress.mu.Unlock()
	if c.Now().Sub(since) < logAfter {
		return nil
	}
	_, err := store.ReadBlockLog(ctx, c.Store)
	if errors.Is(err, store.ErrNotFound) {
		return store.Announce(ctx, c.Store, store.BlockStep{})
	}
	return err
}

func (c *cleaner) cleanFolder(ctx context.Context, below store.Prefix) (deleted int, err error) {
	switch s := c.Store.(type) {
	case store.Indexed:
		return c.cleanIndexed(ctx, s, below)
	case store.Pager:
		return c.cleanPages(ctx, s, below)
	}
	return c.cleanList(ctx, below)
}

// cleanIndexed deletes the expired entries that the store's index names. The index also has
// workspaces' records, which are due to be refreshed; it skips those.
func (c *cleaner) cleanIndexed(ctx context.Context, s store.Indexed, below store.Prefix) (deleted int, err error) {
	for {
		began := time.Now()
		names, err := c.dueNames(ctx, s, below)
		if err == nil {
			err = c.afterList(ctx, indexedPause, time.Since(began))
		}
		var some int
		if err == nil {
			some, err = c.remove(ctx, names, indexedPause)
			deleted += some
		}
		if err != nil || len(names) < dueSize {
			return deleted, err
		}
	}
}

func (c *cleaner) dueNames(ctx context.Context, s store.Indexed, below store.Prefix) (names []store.Name, err error) {
	before := c.Now().Add(-store.ClaimGrace)
	if below != store.Deliveries() && below != store.UsedProofs() {
		before = c.TokenTime()
	}
	for e, err := range s.Due(ctx, below, before, 0) {
		if err != nil && e.Name.IsZero() {
			return nil, err
		}
		if expires(e.Name) {
			names = append(names, e.Name)
		}
		if len(names) == dueSize {
			break
		}
	}
	return names, nil
}

// cleanPages goes through the names in order, from where the round was.
func (c *cleaner) cleanPages(ctx context.Context, s store.Pager, below store.Prefix) (deleted int, err error) {
	after, _ := store.ParseName(c.progress.get().After) // the zero name means from the beginning
	for {
		began := time.Now()
		paced := store.WithPause(ctx, func(took time.Duration) error {
			err := c.afterList(ctx, c.listPause(indexedPause), took)
			began = time.Now()
			return err
		})
		names, err := s.Page(paced, below, after, cleanPage)
		if err == nil {
			err = c.afterList(ctx, indexedPause, time.Since(began))
		}
		if err != nil {
			return deleted, err
		}
		over, err := c.expired(ctx, names)
		if err != nil {
			return deleted, err
		}
		some, err := c.remove(ctx, over, indexedPause)
		if deleted += some; err != nil {
			return deleted, err
		}
		if len(names) > 0 {
			after = names[len(names)-1]
		}
		c.progress.change(func(n *note) { n.After = after.String() })
		if len(names) < cleanPage {
			return deleted, nil
		}
	}
}

// expired returns the names of entries that have expired.
func (c *cleaner) expired(ctx context.Context, names []store.Name) (over []store.Name, err error) {
	for _, name := range names {
		isOver, err := c.isExpired(ctx, name, indexedPause)
		if err != nil {
			return nil, err
		}
		if isOver {
			over = append(over, name)
		}
	}
	return over, nil
}

// cleanList goes through a list, with the pauses for slow stores.
func (c *cleaner) cleanList(ctx context.Context, below store.Prefix) (deleted int, err error) {
	var over []store.Name
	paced := store.WithPause(ctx, func(took time.Duration) error { return c.afterList(ctx, c.listPause(busyPause), took) })
	for name, err := range c.Store.List(paced, below) {
		isOver := false
		if err == nil {
			isOver, err = c.isExpired(ctx, name, c.listPause(busyPause))
		}
		if isOver {
			over = append(over, name)
		}
		if err == nil && len(over) == removeSize {
			var some int
			some, err = c.remove(ctx, over, deletePause)
			deleted, over = deleted+some, nil
		}
		if err != nil {
			return deleted, err
		}
	}
	some, err := c.remove(ctx, over, deletePause)
	return deleted + some, errors.Join(err, ctx.Err())
}

// listPause returns the pause after one of several calls for a list: busy while
// workspaces make requests.
func (c *cleaner) listPause(busy time.Duration) time.Duration {
	if c.Now().Sub(c.Blocklist.LastRequest()) < idleAfter {
		return busy
	}
	return idlePause
}

// isExpired reports whether an entry has expired and may be deleted.
func (c *cleaner) isExpired(ctx context.Context, name store.Name, readPause time.Duration) (isOver bool, err error) {
	if !expires(name) {
		return false, nil
	}
	now := c.Now()
	if !store.Deliveries().Has(name) && !store.UsedProofs().Has(name) {
		now = c.TokenTime()
	}
	end := c.ends[name]
	if ends, ok := name.Ends(); ok {
		end = ends.Add(store.TokenGrace)
	} else if !end.After(now) { // not read yet, or it may have been rewritten since
		if end, err = c.readEnd(ctx, name, readPause); err != nil {
			return false, err
		}
	}
	return !end.IsZero() && !end.After(now), nil // zero means that it no longer exists
}

// readEnd reads when an entry expires if its name does not tell it. It returns zero for
// an entry that no longer exists.
func (c *cleaner) readEnd(ctx context.Context, name store.Name, rest time.Duration) (end time.Time, err error) {
	began := time.Now()
	entry, err := c.Store.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	}
	if errors.Is(err, store.ErrDamaged) { // its age is unknown
		c.Log.ErrorContext(ctx, "an entry is damaged; it is deleted after the longest time that such an entry is valid", "error", err)
		entry, err = store.Entry{Modified: c.Now()}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	end = endOf(name, entry)
	if c.ends == nil {
		c.ends = map[store.Name]time.Time{}
	}
	c.ends[name] = end
	return end, c.afterCall(ctx, rest, time.Since(began))
}

// remove deletes entries, and returns how many it deleted.
func (c *cleaner) remove(ctx context.Context, names []store.Name, rest time.Duration) (deleted int, err error) {
	size := 1
	if _, ok := c.Store.(store.Deleter); ok {
		size = removeSize
	}
	for some := range slices.Chunk(names, size) {
		began := time.Now()
		if err := store.DeleteAll(ctx, c.Store, some); err != nil {
			return deleted, err
		}
		deleted += len(some)
		for _, name := range some {
			delete(c.ends, name)
		}
		if err := c.afterCall(ctx, rest, time.Since(began)); err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// afterList counts a call for names, unless the pause is so long that the next round need not
// wait for it, and pauses.
func (c *cleaner) afterList(ctx context.Context, rest, took time.Duration) error {
	if rest < idlePerCall {
		c.progress.change(func(n *note) { n.Asked++ })
	}
	return c.afterCall(ctx, rest, took)
}

// afterCall pauses after a call, and returns an error if this replica must stop.
func (c *cleaner) afterCall(ctx context.Context, rest, took time.Duration) error {
	if err := pause(ctx, rest, took); err != nil {
		return err
	}
	if !c.progress.isHolder(c.Now()) {
		return errNotHolder
	}
	return nil
}

// pause pauses after a call, for a time that depends on how long the call took.
func pause(ctx context.Context, least, took time.Duration) error {
	select {
	case <-time.After(min(max(least, paceFactor*took), maxPause)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endOf returns when an entry expires if its name does not tell it.
func endOf(name store.Name, entry store.Entry) time.Time {
	switch {
	case name.IsVended():
		return broker.ReadVended(entry).Token.Expiry.Add(store.TokenGrace)
	case name.IsBlockedToken():
		return entry.Modified.Add(markLife)
	case store.UsedProofs().Has(name):
		until, err := store.ClaimedUntil(entry)
		if err != nil { // unknown: later than any token that a broker accepts
			until = entry.Modified.Add(unknownLife)
		}
		return until.Add(store.ClaimGrace)
	}
	return entry.Modified.Add(store.DeliveryLife)
}

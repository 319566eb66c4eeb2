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

// The pace of tidying: the least pause after each call. The pause is paceFactor times
// as long as the call took, so that a busy store gets fewer calls, but at most
// longestPause.
const (
	// listPause, idlePause and deletePause are for stores without an index or pages.
	// AWS's Parameter Store answers 40 reads and 5 deletes per second for a whole
	// account. Tidying takes a twelfth of the reads, and while no workspace makes
	// requests, less than one per second.
	listPause   = 300 * time.Millisecond
	idlePause   = 1500 * time.Millisecond
	deletePause = 300 * time.Millisecond
	// idleAfter is how long after the last request of a workspace this replica counts
	// as idle.
	idleAfter    = 30 * time.Second
	indexedPause = 10 * time.Millisecond // for all other stores
	paceFactor   = 2
	longestPause = 5 * time.Second

	// tidyPage is how many names one call asks for.
	tidyPage = 500
	// dueSize is how many expired entries one call asks for.
	dueSize = 200
	// removeSize is how many entries one call deletes, if the store can delete several.
	removeSize = 10
)

const (
	// tidyEvery is the time between two rounds. After a round with many calls for names
	// while workspaces made requests, the next one waits restPerCall for each of these
	// calls, so that a store with small pages gets less than one call per second on
	// average.
	tidyEvery   = 5 * time.Minute
	tidyAgain   = 30 * time.Second // after a failure of the store
	restPerCall = time.Second
	longestRest = 6 * time.Hour
	// logAfter is how long a replica must have the lease before it makes a log of the
	// block list in a store without one. By then no older replica, which would not
	// write the log, is left.
	logAfter = 10 * time.Minute

	// A mark is needed until its token expires. A delivery is needed for the three days
	// in which GitHub can send it again.
	markLife    = 65 * time.Minute
	unknownLife = 30 * 24 * time.Hour
)

// tidying is the state between calls of Tidy.
type tidying struct {
	mu   sync.Mutex               // guards the rest; held while one call runs
	ends map[store.Name]time.Time // expiry of entries whose names do not tell it, so that each is read once
}

// folders returns the folders with entries that expire. Their order is part of the
// format of notes.
func folders() []store.Prefix {
	return []store.Prefix{store.Workspaces(), store.AllBlocks(), store.Deliveries(), store.AllSpent(), store.AllShared()}
}

// isPerishable reports whether an entry is deleted when it has expired.
func isPerishable(n store.Name) bool {
	return n.IsVended() || n.IsBlockedToken() || n.IsShared() || store.Deliveries().Has(n) || store.AllSpent().Has(n)
}

// errNotHolder ends a round that another replica goes on with.
var errNotHolder = errors.New("another replica has the lease")

// Tidy deletes expired entries from the store, if this replica has the lease
// ([Revoker.Reconcile] takes it) and a round is due. It returns how many it deleted. It
// pauses after each call of the store, so that requests come first, and may take hours.
// If ctx ends or the lease is lost, this replica or another goes on from there.
func (r *Revoker) Tidy(ctx context.Context) (deleted int, err error) {
	r.tidying.mu.Lock()
	defer r.tidying.mu.Unlock()
	now, n := r.Now(), r.progress.get()
	if !r.progress.isHolder(now) || now.Before(n.Next) || r.isEarly(now) {
		return 0, nil
	}
	for i, below := range folders() {
		if i < n.Folder {
			continue
		}
		some, err := r.tidyFolder(ctx, below)
		if deleted += some; errors.Is(err, errNotHolder) {
			return deleted, nil
		}
		if err != nil {
			if ctx.Err() == nil {
				r.progress.change(func(n *note) { n.Next = r.Now().Add(tidyAgain) })
			}
			return deleted, err
		}
		r.progress.change(func(n *note) { n.Folder, n.After = i+1, "" })
	}
	r.rest()
	return deleted, r.makeLog(ctx)
}

// isEarly reports whether this replica has just got the lease and does not know
// GitHub's clock yet. Until then, no token counts as expired.
func (r *Revoker) isEarly(now time.Time) bool {
	r.progress.mu.Lock()
	defer r.progress.mu.Unlock()
	return now.Sub(r.TokenTime()) > time.Hour && now.Sub(r.progress.since) < tidyEvery
}

// rest ends a round and schedules the next one.
func (r *Revoker) rest() {
	now := r.Now()
	maps.DeleteFunc(r.tidying.ends, func(_ store.Name, end time.Time) bool { return now.Sub(end) > time.Hour })
	r.progress.change(func(n *note) {
		rest := min(max(tidyEvery, time.Duration(n.Asked)*restPerCall), longestRest)
		n.Folder, n.After, n.Asked, n.Next = 0, "", 0, now.Add(rest)
	})
}

// makeLog makes a log of the block list if the store has none.
func (r *Revoker) makeLog(ctx context.Context) error {
	r.progress.mu.Lock()
	since := r.progress.since
	r.progress.mu.Unlock()
	if r.Now().Sub(since) < logAfter {
		return nil
	}
	_, err := store.ReadBlockLog(ctx, r.Store)
	if errors.Is(err, store.ErrNotFound) {
		return store.Announce(ctx, r.Store)
	}
	return err
}

func (r *Revoker) tidyFolder(ctx context.Context, below store.Prefix) (deleted int, err error) {
	switch s := r.Store.(type) {
	case store.Indexed:
		return r.tidyDue(ctx, s, below)
	case store.Pager:
		return r.tidyPages(ctx, s, below)
	}
	return r.tidyList(ctx, below)
}

// tidyDue deletes the expired entries that the store's index names. The index also has
// workspaces' records, which are due to be refreshed; it skips those.
func (r *Revoker) tidyDue(ctx context.Context, s store.Indexed, below store.Prefix) (deleted int, err error) {
	for {
		began := time.Now()
		names, err := r.dueNames(ctx, s, below)
		if err == nil {
			err = r.asked(ctx, indexedPause, time.Since(began))
		}
		var some int
		if err == nil {
			some, err = r.remove(ctx, names, indexedPause)
			deleted += some
		}
		if err != nil || len(names) < dueSize {
			return deleted, err
		}
	}
}

func (r *Revoker) dueNames(ctx context.Context, s store.Indexed, below store.Prefix) (names []store.Name, err error) {
	before := r.Now().Add(-store.ClaimGrace)
	if below != store.Deliveries() && below != store.AllSpent() {
		before = r.TokenTime()
	}
	for e, err := range s.Due(ctx, below, before, 0) {
		if err != nil && e.Name.IsZero() {
			return nil, err
		}
		if isPerishable(e.Name) {
			names = append(names, e.Name)
		}
		if len(names) == dueSize {
			break
		}
	}
	return names, nil
}

// tidyPages goes through the names in order, from where the round was.
func (r *Revoker) tidyPages(ctx context.Context, s store.Pager, below store.Prefix) (deleted int, err error) {
	after, _ := store.ParseName(r.progress.get().After) // the zero name means from the beginning
	for {
		began := time.Now()
		names, err := s.Page(ctx, below, after, tidyPage)
		if err == nil {
			err = r.asked(ctx, indexedPause, time.Since(began))
		}
		if err != nil {
			return deleted, err
		}
		over, err := r.over(ctx, names)
		if err != nil {
			return deleted, err
		}
		some, err := r.remove(ctx, over, indexedPause)
		if deleted += some; err != nil {
			return deleted, err
		}
		if len(names) > 0 {
			after = names[len(names)-1]
		}
		r.progress.change(func(n *note) { n.After = after.String() })
		if len(names) < tidyPage {
			return deleted, nil
		}
	}
}

// over returns the names of entries that have expired.
func (r *Revoker) over(ctx context.Context, names []store.Name) (over []store.Name, err error) {
	for _, name := range names {
		isOver, err := r.isOver(ctx, name, indexedPause)
		if err != nil {
			return nil, err
		}
		if isOver {
			over = append(over, name)
		}
	}
	return over, nil
}

// tidyList goes through a list, with the pauses for slow stores.
func (r *Revoker) tidyList(ctx context.Context, below store.Prefix) (deleted int, err error) {
	var over []store.Name
	paced := store.WithPause(ctx, func(took time.Duration) error { return r.asked(ctx, r.listRest(), took) })
	for name, err := range r.Store.List(paced, below) {
		isOver := false
		if err == nil {
			isOver, err = r.isOver(ctx, name, r.listRest())
		}
		if isOver {
			over = append(over, name)
		}
		if err == nil && len(over) == removeSize {
			var some int
			some, err = r.remove(ctx, over, deletePause)
			deleted, over = deleted+some, nil
		}
		if err != nil {
			return deleted, err
		}
	}
	some, err := r.remove(ctx, over, deletePause)
	return deleted + some, errors.Join(err, ctx.Err())
}

// listRest returns the pause after a call for names, for a store without an index or
// pages.
func (r *Revoker) listRest() time.Duration {
	if r.Now().Sub(r.Blocklist.LastAsked()) < idleAfter {
		return listPause
	}
	return idlePause
}

// isOver reports whether an entry has expired and may be deleted.
func (r *Revoker) isOver(ctx context.Context, name store.Name, readPause time.Duration) (isOver bool, err error) {
	if !isPerishable(name) {
		return false, nil
	}
	now := r.Now()
	if !store.Deliveries().Has(name) && !store.AllSpent().Has(name) {
		now = r.TokenTime()
	}
	end := r.tidying.ends[name]
	if ends, ok := name.Ends(); ok {
		end = ends.Add(store.TokenGrace)
	} else if !end.After(now) { // not read yet, or it may have been rewritten since
		if end, err = r.readEnd(ctx, name, readPause); err != nil {
			return false, err
		}
	}
	return !end.IsZero() && !end.After(now), nil // zero means that it no longer exists
}

// readEnd reads when an entry expires if its name does not tell it. It returns zero for
// an entry that no longer exists.
func (r *Revoker) readEnd(ctx context.Context, name store.Name, rest time.Duration) (end time.Time, err error) {
	began := time.Now()
	entry, err := r.Store.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	}
	if errors.Is(err, store.ErrDamaged) { // its age is unknown
		r.Log.ErrorContext(ctx, "an entry is damaged; it is deleted when it would have run out, had it been written now", "error", err)
		entry, err = store.Entry{Modified: r.Now()}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	end = endOf(name, entry)
	if r.tidying.ends == nil {
		r.tidying.ends = map[store.Name]time.Time{}
	}
	r.tidying.ends[name] = end
	return end, r.goOn(ctx, rest, time.Since(began))
}

// remove deletes entries, and returns how many it deleted.
func (r *Revoker) remove(ctx context.Context, names []store.Name, rest time.Duration) (deleted int, err error) {
	size := 1
	if _, ok := r.Store.(store.Deleter); ok {
		size = removeSize
	}
	for some := range slices.Chunk(names, size) {
		began := time.Now()
		if err := store.DeleteAll(ctx, r.Store, some); err != nil {
			return deleted, err
		}
		deleted += len(some)
		for _, name := range some {
			delete(r.tidying.ends, name)
		}
		if err := r.goOn(ctx, rest, time.Since(began)); err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// asked counts a call for names, unless the pause is so long that the round needs no
// rest, and pauses.
func (r *Revoker) asked(ctx context.Context, rest, took time.Duration) error {
	if rest < restPerCall {
		r.progress.change(func(n *note) { n.Asked++ })
	}
	return r.goOn(ctx, rest, took)
}

// goOn pauses after a call, and returns an error if this replica must stop.
func (r *Revoker) goOn(ctx context.Context, rest, took time.Duration) error {
	if err := pause(ctx, rest, took); err != nil {
		return err
	}
	if !r.progress.isHolder(r.Now()) {
		return errNotHolder
	}
	return nil
}

// pause pauses after a call, for a time that depends on how long the call took.
func pause(ctx context.Context, least, took time.Duration) error {
	select {
	case <-time.After(min(max(least, paceFactor*took), longestPause)):
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
	case store.AllSpent().Has(name):
		until, err := store.ClaimedUntil(entry)
		if err != nil { // unknown: later than any token that a broker accepts
			until = entry.Modified.Add(unknownLife)
		}
		return until.Add(store.ClaimGrace)
	}
	return entry.Modified.Add(store.DeliveryLife)
}

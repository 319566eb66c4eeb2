package blocklist

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/store"
)

const (
	// listEvery is the time between two readings of the whole list while its log shows
	// no change. They find blocks of replicas that died before they wrote the log, and
	// of older versions, which write none. A long list is read less often: at most one
	// part in listRarely of the time, and after listPerEntry for each of its entries,
	// but at least every listLatest. Parameter Store lists ten entries per call.
	listEvery    = 30 * time.Second
	listRarely   = 150
	listPerEntry = 500 * time.Millisecond
	listLatest   = 5 * time.Minute
	// listAgain is how long after a change the list is read a second time: in some
	// stores, listings lag behind reads.
	listAgain = 5 * time.Second
	// listShare limits the time spent on reading the list to 1/listShare of all time.
	listShare = 10
	// listTimeout is the timeout of one reading of the list. It also ends if the store
	// yields nothing for blocksWait.
	listTimeout = time.Minute
	// writeTime is the most time between the announcement of a block and the write of its
	// entry, which a store may throttle.
	writeTime = 30 * time.Second
)

// listing describes the readings of the whole list.
type listing struct {
	started  time.Time     // the latest
	took     time.Duration // of the latest success
	entries  int           // of that one
	number   int           // the number of its reading
	isBehind bool          // something changed since the latest began
	isFirst  bool          // something had changed before the latest began
}

// isDue reports whether the list should be read again although the known one is fresh.
func (l listing) isDue(now time.Time) bool {
	wait := min(max(listEvery, listRarely*l.took, listPerEntry*time.Duration(l.entries)), listLatest)
	switch {
	case l.isBehind:
		wait = 0
	case l.isFirst:
		wait = listAgain
	}
	return clock.Since(l.started, now) >= max(wait, listShare*l.took)
}

// readLogStep reads the log of the block list and applies its new blocks. If that is not
// enough, or the list has not been read for long, it reads the whole list. If there is
// no log, it always does.
func (b *List) readLogStep(ctx context.Context, r *reading) error {
	log, err := b.readLog(ctx, r)
	if err != nil {
		return err
	}
	if b.follow(r, log) {
		return b.list(ctx, r)
	}
	return nil
}

// readLog returns the log, or a zero one if the store has none.
func (b *List) readLog(ctx context.Context, r *reading) (store.BlockLog, error) {
	b.mu.Lock()
	hasNone := b.known && b.version == "" && clock.Since(b.without, r.started) < listEvery
	b.mu.Unlock()
	if hasNone {
		return store.BlockLog{}, nil
	}
	ctx, cancel := context.WithTimeout(store.Urgently(ctx), blocksWait)
	defer cancel()
	log, err := store.ReadBlockLog(ctx, b.Store)
	if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
		return log, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.without = r.started
	return store.BlockLog{}, nil
}

// follow applies the log, and reports whether the list must be read.
func (b *List) follow(r *reading, log store.BlockLog) (isListDue bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.number < b.latest {
		return false
	}
	set, deleted, ok := log.Since(b.version)
	if !b.known || !ok {
		return b.begins(r, log)
	}
	b.listed.isBehind = b.listed.isBehind || log.Version() != b.version
	b.add(r, set, deleted)
	b.version, b.took = log.Version(), clock.Since(r.started, b.now())
	b.latest, b.read, r.isLogApplied = r.number, r.started, true
	if b.lister != nil || !b.listed.isDue(r.started) {
		return false
	}
	b.lister, b.listed.started, r.isAside = r, r.started, !b.listed.isBehind
	b.listed.isFirst, b.listed.isBehind = b.listed.isBehind, false
	b.wake()
	return true
}

// begins reports whether r must read the whole list because the log does not continue
// the known one. If another reading is doing that already, begins passes on to it what
// the log says instead. The caller holds mu.
func (b *List) begins(r *reading, log store.BlockLog) bool {
	if b.lister != nil && log.Version() != "" && r.number > b.lister.asOf.number {
		if set, deleted, ok := log.Since(b.lister.version); ok {
			b.note(r, set, deleted)
			b.listed.isBehind = b.listed.isBehind || log.Version() != b.lister.version
			b.lister.mine = append(b.lister.mine, adding(store.NewBlocks(set...)))
			b.lister.mine = append(b.lister.mine, r.mine...)
			b.lister.version, b.lister.asOf, r.isJoined = log.Version(), r, true
			return false
		}
	}
	if clock.Since(log.Changed, r.started) < writeTime {
		b.note(r, log.Recent(), nil)
	}
	b.lister, r.version, r.asOf = r, log.Version(), r
	b.listed.started, b.listed.isFirst, b.listed.isBehind = r.started, false, false
	return true
}

// adding returns a change that adds the blocks of set.
func adding(set store.Blocks) func(*store.Blocks) {
	return func(have *store.Blocks) {
		have.App = have.App || set.App
		maps.Copy(have.Owners, set.Owners)
		maps.Copy(have.Workspaces, set.Workspaces)
		maps.Copy(have.Tokens, set.Tokens)
	}
}

// add applies blocks that other replicas announced, and passes them on to the readings in
// progress. Changes that this replica made since r began are newer, so they apply last.
// The caller holds mu.
func (b *List) add(r *reading, set, deleted []store.Name) {
	b.note(r, set, deleted)
	if len(set) == 0 {
		return
	}
	changes := append([]func(*store.Blocks){adding(store.NewBlocks(set...))}, r.mine...)
	next := b.have.Clone()
	for _, change := range changes {
		change(&next)
	}
	for _, other := range b.under {
		other.mine = append(other.mine, changes...)
	}
	b.apply(next)
}

// note keeps announced blocks for writeTime, unless they are unblocked before. The
// caller holds mu.
func (b *List) note(r *reading, set, deleted []store.Name) {
	if b.announced == nil {
		b.announced = map[store.Name]time.Time{}
	}
	for _, name := range deleted {
		delete(b.announced, name)
	}
	for _, name := range set {
		b.announced[name] = r.started
	}
	maps.DeleteFunc(b.announced, func(_ store.Name, at time.Time) bool { return clock.Since(at, r.started) >= writeTime })
}

// list reads the whole list and applies it.
func (b *List) list(ctx context.Context, r *reading) error {
	found, entries, err := readBlocks(ctx, b.Store)
	if err == nil && found.IsEmpty() && b.hasSome() {
		err = b.checkVanished(ctx)
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.number < b.listed.number {
		return nil // a later reading ended before
	}
	for name := range b.announced {
		found.Add(name)
	}
	for _, change := range r.mine {
		change(&found)
	}
	b.apply(found)
	b.known, b.listed.number, b.listed.took, b.listed.entries = true, r.number, clock.Since(r.started, b.now()), entries
	if !r.isLogApplied {
		b.version, b.latest, b.read = r.version, r.asOf.number, r.asOf.started
	}
	if b.version == "" {
		b.took = b.listed.took
	}
	return nil
}

// readBlocks reads the list. It gives up if the store yields nothing for blocksWait.
func readBlocks(ctx context.Context, s store.Store) (found store.Blocks, entries int, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	silence := time.AfterFunc(blocksWait, cancel)
	defer silence.Stop()
	found = store.NewBlocks()
	for name, err := range s.List(ctx, store.AllBlocks()) {
		if err != nil {
			return store.Blocks{}, 0, err
		}
		silence.Reset(blocksWait)
		found.Add(name)
		entries++
	}
	return found, entries, nil
}

func (b *List) hasSome() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.have.IsEmpty()
}

package blocklist

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/store"
)

const (
	// maxReadings is how many readings may be in progress: one that hangs must not stop
	// the next from succeeding.
	maxReadings = 4
	// outageAfter is how many consecutive failures make an outage. During an outage
	// only the caller that begins a reading waits for it.
	outageAfter = 2
)

// A reading is one read of the store in progress: a look at the log of the block list
// and, if that is not enough, at the whole list.
type reading struct {
	number  int
	started time.Time
	// mine are changes known since the reading began: by this replica, and from later
	// looks.
	mine         []func(*store.Blocks)
	isLogApplied bool // the log has been applied; if the reading is still in progress, it reads the list
	isAside      bool // no request waits for the list, because no change is known
	isJoined     bool // another reading, which reads the list, has what this one found
	// For a reading that reads the list because the log does not continue the known
	// one: the version that the list will correspond to, and the latest look that said
	// so.
	version string
	asOf    *reading
}

// Check returns an error while every request is refused because the list cannot be
// read.
func (b *List) Check(ctx context.Context) error {
	_, err := b.current(ctx)
	return err
}

// FailedReadings returns how many readings of the store have failed.
func (b *List) FailedReadings() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// current returns the list, at most Stale old. Its maps must not be changed. It waits
// for a reading if it needs one. The caller that begins a reading always waits for it
// for a moment, so that a replica that gets requests learns what others wrote.
func (b *List) current(ctx context.Context) (store.Blocks, error) {
	asked := b.now()
	own, patience := b.begin(ctx, asked)
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		have, ended, err := b.answer(asked, own)
		if ended == nil {
			return have, err
		}
		select {
		case <-ended:
			if patience > blocksCallerWait && b.isLogApplied(own) {
				patience = blocksCallerWait
				late.Reset(patience)
			}
		case <-late.C:
			own = nil
			if have, ended, err = b.answer(asked, own); ended != nil {
				err = errLate
			}
			return have, err
		}
	}
}

var errLate = errors.New("the store did not answer in time")

// begin starts a reading if one is due. It returns the reading, and how long the caller
// may wait.
func (b *List) begin(ctx context.Context, now time.Time) (*reading, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	patience := blocksWait
	if b.isFresh(now) {
		patience = blocksCallerWait
	}
	isDue := clock.Since(b.tried, now) >= b.every() || !b.known && len(b.under) == 0
	if !isDue || len(b.under) >= maxReadings {
		return nil, patience
	}
	r := b.start(now)
	go b.finish(context.WithoutCancel(ctx), r) // it goes on for the other callers when this one is canceled
	return r, patience
}

// every returns how long after a reading the next may begin: half a second, or about a
// second if the store has no log. The caller holds mu.
func (b *List) every() time.Duration {
	isUnderWay := func(r *reading) bool { return !r.isLogApplied }
	switch {
	case b.Every > 0:
		return b.Every
	case b.version != "", slices.ContainsFunc(b.under, isUnderWay):
		return blocksEvery
	}
	return min(max(or(b.Stale, blocksStale)-2*b.took-listsReserve, blocksEvery), listsEvery)
}

// start registers a new reading. The caller holds mu.
func (b *List) start(now time.Time) *reading {
	if b.ended == nil {
		b.ended = make(chan struct{})
	}
	b.started++
	r := &reading{number: b.started, started: now}
	b.tried, b.under = now, append(b.under, r)
	return r
}

// isFresh reports whether the known list is fresh enough for a request made at asked.
// The caller holds mu.
func (b *List) isFresh(asked time.Time) bool {
	return b.known && clock.Since(b.read, asked) <= or(b.Stale, blocksStale)
}

func (b *List) isLogApplied(r *reading) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return r != nil && r.isLogApplied
}

// answer returns the known list if it is fresh, an error, or a channel to wait on: it
// is closed when a reading makes progress. own is the reading that the caller began.
func (b *List) answer(asked time.Time, own *reading) (store.Blocks, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	isWaiting := own != nil && !own.isAside && slices.Contains(b.under, own)
	switch {
	case b.isFresh(asked) && !isWaiting:
		return b.have, nil, nil
	case isWaiting, len(b.under) > 0 && b.failed < outageAfter:
		return store.Blocks{}, b.ended, nil
	case b.err == nil:
		return store.Blocks{}, nil, errLate
	}
	return store.Blocks{}, nil, b.err
}

// wake makes waiting callers check again. The caller holds mu.
func (b *List) wake() {
	close(b.ended)
	b.ended = make(chan struct{})
}

// finish does the reading, and calls OnError if the result is news.
func (b *List) finish(ctx context.Context, r *reading) {
	if isNews, err := b.end(r, b.readLogStep(ctx, r)); isNews && b.OnError != nil {
		b.OnError(err)
	}
}

// end removes r from the readings in progress. It reports whether readings now begin to
// fail, or succeed again. A reading that ends after a later one is not news. A failed
// list is counted, but is not news while the log shows that the known list is good.
func (b *List) end(r *reading, err error) (isNews bool, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under = slices.DeleteFunc(b.under, func(other *reading) bool { return other == r })
	b.wake()
	if b.lister == r {
		b.lister = nil
	}
	if err != nil {
		b.total++
	}
	if r.number < b.latest || r.isJoined || err != nil && r.isLogApplied {
		return false, nil
	}
	isNews = (err == nil) != (b.err == nil)
	b.failed, b.err = b.failed+1, err
	if err == nil {
		b.failed = 0
	}
	return isNews, err
}

// watchAgain is the time between two attempts to watch a store.
const watchAgain = time.Second

// Watch looks as soon as the store reports a change, until ctx ends. It returns at once
// if the store does not report changes. Requests still start looks, because a watch can
// fail unnoticed for some time.
func (b *List) Watch(ctx context.Context) {
	watcher, ok := b.Store.(store.Watcher)
	for ok && ctx.Err() == nil {
		_ = watcher.Watch(ctx, store.AllBlocks(), func() { b.changed(ctx) }) // the next look reports what is wrong with the store
		select {
		case <-time.After(watchAgain):
		case <-ctx.Done():
		}
	}
}

// changed looks and returns when the look is done; it does not wait for the whole list.
func (b *List) changed(ctx context.Context) {
	b.mu.Lock()
	r := b.start(b.now())
	b.mu.Unlock()
	go b.finish(ctx, r)
	for {
		b.mu.Lock()
		isLooking, ended := slices.Contains(b.under, r) && !r.isLogApplied, b.ended
		b.mu.Unlock()
		if !isLooking {
			return
		}
		<-ended
	}
}

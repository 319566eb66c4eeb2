package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/store"
)

const (
	// maxReadings are under way at once: one that hangs does not keep the next from
	// succeeding.
	maxReadings = 4
	// outageAfter is how many failures in a row make an outage. From then on only the
	// caller that begins a reading waits for it.
	outageAfter = 2
)

// A reading of the store that is under way: a look at the log of the block list, and where
// that is not enough the whole list.
type reading struct {
	number int
	begun  time.Time
	// mine is what is known to have changed since: by this replica, and by looks that
	// began later.
	mine     []func(*store.Blocks)
	isLooked bool // what the log says is known; if it is under way, the list is being read
	isAside  bool // no request waits for the list: nothing is known to have changed
	isJoined bool // another, which reads the list, knows what this one found
	// Of one that reads the list because the log could not be followed: the version that
	// the list will be of, and the latest look that said so.
	version string
	asOf    *reading
}

// Check returns an error while everybody is blocked, because the list cannot be read.
func (b *Blocklist) Check(ctx context.Context) error {
	_, err := b.current(ctx)
	return err
}

// FailedReadings counts readings of the store that failed.
func (b *Blocklist) FailedReadings() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// current returns the list as of at most Stale ago. Its maps are never written to. It
// waits for a reading where it needs one, and the caller that begins one waits for it
// for a moment in any case: so a replica that is asked knows what others wrote.
func (b *Blocklist) current(ctx context.Context) (store.Blocks, error) {
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
			if patience > blocksPatience && b.isLooked(own) {
				patience = blocksPatience
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

var errLate = errors.New("the store does not answer in time")

// begin starts a reading where one is due, and returns it, and how long the caller may
// wait.
func (b *Blocklist) begin(ctx context.Context, now time.Time) (*reading, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	patience := blocksWait
	if b.isFresh(now) {
		patience = blocksPatience
	}
	isDue := clock.Since(b.tried, now) >= b.every() || !b.known && len(b.under) == 0
	if !isDue || len(b.under) >= maxReadings {
		return nil, patience
	}
	r := b.start(now)
	go b.finish(context.WithoutCancel(ctx), r) // it goes on for all callers when one of them goes away
	return r, patience
}

// every is how long after a reading the next may begin: about a second, sooner where the
// store is slow, so that it ends while the last is good, and where the last has not ended.
// The caller holds mu.
func (b *Blocklist) every() time.Duration {
	isUnderWay := func(r *reading) bool { return !r.isLooked }
	switch {
	case b.Every > 0:
		return b.Every
	case slices.ContainsFunc(b.under, isUnderWay):
		return blocksSoonest
	}
	return min(max(or(b.Stale, blocksStale)-2*b.took-blocksSpare, blocksSoonest), blocksEvery)
}

// start makes a reading. The caller holds mu.
func (b *Blocklist) start(now time.Time) *reading {
	if b.ended == nil {
		b.ended = make(chan struct{})
	}
	b.begun++
	r := &reading{number: b.begun, begun: now}
	b.tried, b.under = now, append(b.under, r)
	return r
}

// isFresh reports whether what is known may be answered to whoever asks then. The
// caller holds mu.
func (b *Blocklist) isFresh(asked time.Time) bool {
	return b.known && clock.Since(b.read, asked) <= or(b.Stale, blocksStale)
}

func (b *Blocklist) isLooked(r *reading) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return r != nil && r.isLooked
}

// answer returns what is known where that will do, or the channel that is closed when
// a reading gets on where it is worth to wait. own is the reading that the caller began.
func (b *Blocklist) answer(asked time.Time, own *reading) (store.Blocks, <-chan struct{}, error) {
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

// wake lets those who wait look again. The caller holds mu.
func (b *Blocklist) wake() {
	close(b.ended)
	b.ended = make(chan struct{})
}

// finish reads the store and makes known what it says.
func (b *Blocklist) finish(ctx context.Context, r *reading) {
	if isNews, err := b.end(r, b.look(ctx, r)); isNews && b.Told != nil {
		b.Told(err)
	}
}

// end takes a reading from those under way. It reports whether readings begin to fail or
// to succeed by it. One that ends after a later one says nothing; nor does a list that
// fails while the log says that what is known is good, but that is counted.
func (b *Blocklist) end(r *reading, err error) (isNews bool, why error) {
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
	if r.number < b.latest || r.isJoined || err != nil && r.isLooked {
		return false, nil
	}
	isNews = (err == nil) != (b.err == nil)
	b.failed, b.err = b.failed+1, err
	if err == nil {
		b.failed = 0
	}
	return isNews, err
}

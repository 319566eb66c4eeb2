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

// A reading of the store that is under way.
type reading struct {
	number int
	begun  time.Time
	mine   []func(*store.Bars) // what this replica changed since
}

// Check returns an error while everybody is blocked, because the list cannot be read.
func (b *Bars) Check(ctx context.Context) error {
	_, err := b.current(ctx)
	return err
}

// FailedReadings counts readings of the store that failed.
func (b *Bars) FailedReadings() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// current returns the list as of at most Stale ago. Its maps are never written to. It
// waits for a reading where it needs one, and the caller that begins one waits for it
// for a moment in any case: so a replica that is asked knows what others wrote.
func (b *Bars) current(ctx context.Context) (store.Bars, error) {
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
func (b *Bars) begin(ctx context.Context, now time.Time) (*reading, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	patience := barsWait
	if b.isFresh(now) {
		patience = barsEvery
	}
	isDue := clock.Since(b.tried, now) >= or(b.Every, barsEvery) || !b.known && len(b.under) == 0
	if !isDue || len(b.under) >= maxReadings {
		return nil, patience
	}
	if b.ended == nil {
		b.ended = make(chan struct{})
	}
	b.begun++
	r := &reading{number: b.begun, begun: now}
	b.tried, b.under = now, append(b.under, r)
	go b.finish(context.WithoutCancel(ctx), r) // it is for all, whoever of them goes away
	return r, patience
}

// isFresh reports whether what is known may be answered to whoever asks then. The
// caller holds mu.
func (b *Bars) isFresh(asked time.Time) bool {
	return b.known && clock.Since(b.read, asked) <= or(b.Stale, barsStale)
}

// answer returns what is known where that will do, or the channel that is closed when
// a reading ends where it is worth to wait. own is the reading that the caller began.
func (b *Bars) answer(asked time.Time, own *reading) (store.Bars, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	isWaiting := own != nil && slices.Contains(b.under, own)
	switch {
	case b.isFresh(asked) && !isWaiting:
		return b.have, nil, nil
	case isWaiting, len(b.under) > 0 && b.failed < outageAfter:
		return store.Bars{}, b.ended, nil
	case b.err == nil:
		return store.Bars{}, nil, errLate
	}
	return store.Bars{}, nil, b.err
}

// finish reads the store and makes known what it says.
func (b *Bars) finish(ctx context.Context, r *reading) {
	ctx, cancel := context.WithTimeout(ctx, barsWait)
	defer cancel()
	found, err := store.ReadBars(ctx, b.Store)
	if err == nil && found.IsEmpty() && b.hasSome() {
		err = b.lost(ctx)
	}
	if isNews := b.end(r, found, err); isNews && b.Told != nil {
		b.Told(err)
	}
}

func (b *Bars) hasSome() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.have.IsEmpty()
}

// end takes what a reading found, unless a later one has ended before it. It reports
// whether readings begin to fail or to succeed by it.
func (b *Bars) end(r *reading, found store.Bars, err error) (isNews bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under = slices.DeleteFunc(b.under, func(other *reading) bool { return other == r })
	close(b.ended)
	b.ended = make(chan struct{})
	if err != nil {
		b.total++
	}
	if r.number < b.latest {
		return false
	}
	if isNews = (err == nil) != (b.err == nil); err != nil {
		b.failed, b.err = b.failed+1, err
		return isNews
	}
	for _, change := range r.mine {
		change(&found)
	}
	b.take(found)
	b.known, b.latest, b.read, b.failed, b.err = true, r.number, r.begun, 0, nil
	return isNews
}

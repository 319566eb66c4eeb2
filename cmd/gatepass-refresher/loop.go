package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

// minRetry is the shortest time from the start of a failed run to the next one.
const minRetry = 30 * time.Second

// loop runs at once and then at intervals, until ctx ends. Runs do not overlap.
func (r *refresher) loop(ctx context.Context) error {
	r.monitor = newMonitor(r.options.interval)
	if r.options.listen != nowhere {
		stop, err := r.monitor.serve(ctx, r.options.listen)
		if err != nil {
			return err
		}
		defer stop()
	}
	for {
		begun := time.Now()
		err := r.turn(ctx)
		if !sleepUntil(ctx, begun.Add(next(r.options.interval, err != nil)), time.Now) {
			return nil
		}
	}
}

// turn makes one run of the loop.
func (r *refresher) turn(ctx context.Context) error {
	ctx, stop, cancel := term(ctx, r.options.timeout, lastWait)
	defer cancel()
	made, err := r.refresh(ctx, stop, request{workspace: r.options.workspace})
	r.logFailures(made)
	return err
}

// next returns the time from the start of a run to the start of the next one: an
// interval, give or take a tenth, so that many refreshers do not run at the same time.
func next(interval time.Duration, hasFailed bool) time.Duration {
	if hasFailed {
		interval = min(interval, max(interval/5, minRetry))
	}
	return interval - interval/10 + rand.N(interval/5+1)
}

// longestNap is the longest single sleep: a machine that wakes from suspension goes on
// after this time at the latest.
const longestNap = 10 * time.Second

// sleepUntil waits until end by the wall clock or the monotonic clock, whichever comes
// first: tokens expire while the machine is suspended. It returns false if ctx ended.
func sleepUntil(ctx context.Context, end time.Time, now func() time.Time) bool {
	for left := clock.Left(end, now()); left > 0; left = clock.Left(end, now()) {
		if !sleep(ctx, min(left, longestNap)) {
			return false
		}
	}
	return ctx.Err() == nil
}

// sleep waits for d. It returns false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(max(d, 0)):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

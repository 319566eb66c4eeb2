package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

// minRetry is how soon after a pass that failed the next one is made.
const minRetry = 30 * time.Second

// loop makes a pass at once and then again and again, until ctx ends. One never
// overlaps another.
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

// turn makes one pass of the loop.
func (r *refresher) turn(ctx context.Context) error {
	ctx, stop, cancel := term(ctx, r.options.timeout, lastWait)
	defer cancel()
	made, err := r.refresh(ctx, stop, request{workspace: r.options.workspace})
	r.logFailures(made)
	return err
}

// next is how long after the begin of a pass the next one begins: an interval,
// give or take a tenth, so that many refreshers do not go together.
func next(interval time.Duration, hasFailed bool) time.Duration {
	if hasFailed {
		interval = min(interval, max(interval/5, minRetry))
	}
	return interval - interval/10 + rand.N(interval/5+1)
}

// longestNap is how late a machine that was suspended goes on.
const longestNap = 10 * time.Second

// sleepUntil waits for a moment by either clock: tokens end while the machine is
// suspended. It reports whether ctx goes on.
func sleepUntil(ctx context.Context, end time.Time, now func() time.Time) bool {
	for left := clock.Left(end, now()); left > 0; left = clock.Left(end, now()) {
		if !sleep(ctx, min(left, longestNap)) {
			return false
		}
	}
	return ctx.Err() == nil
}

// sleep waits, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(max(d, 0)):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

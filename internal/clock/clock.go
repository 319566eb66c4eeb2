// Package clock compares times by both of a machine's clocks. The wall clock may be
// set, and goes on while the machine is suspended. The monotonic clock is never set,
// and stops during a suspend. If a [time.Time] has a monotonic reading, package time
// compares only that: after a night in a closed laptop, a token that expired an hour
// ago still seems valid. Here the clock on which more time has passed counts, so that
// nothing is valid for longer than intended.
package clock

import "time"

// Since returns how long ago t was.
func Since(t, now time.Time) time.Duration {
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// Left returns the time until end; 0 or less if end has passed.
func Left(end, now time.Time) time.Duration {
	return min(end.Sub(now), end.Round(0).Sub(now.Round(0)))
}

// Mark returns end, a time from another machine's clock, with a reading of both of our
// clocks. If our wall clock is then set back, end does not move away.
func Mark(end, now time.Time) time.Time {
	return now.Add(end.Round(0).Sub(now.Round(0)))
}

// tolerance is a difference between two clocks that is not corrected: servers send
// whole seconds, and an answer takes a while.
const tolerance = 5 * time.Second

// Ahead returns how far our clock is ahead of a server's, which was read as theirs a
// moment ago; a negative value is behind. A few seconds, and a zero theirs, count as 0.
func Ahead(theirs, now time.Time) time.Duration {
	ahead := now.Round(0).Sub(theirs.Round(0))
	if theirs.IsZero() || ahead.Abs() < tolerance {
		return 0
	}
	return ahead
}

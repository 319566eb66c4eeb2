// Package clock compares moments by both of a machine's clocks. The one of a wall may
// be set, and goes on while the machine is suspended; the monotonic one is never set,
// and stands still meanwhile. Where a [time.Time] has a reading of the latter, package
// time compares by that alone: what was to end an hour ago has not begun to, after a
// night in a closed laptop. Here whichever clock says more time has passed is right, so
// that nothing is believed for longer than it was meant to be.
package clock

import "time"

// Since is how long ago t was.
func Since(t, now time.Time) time.Duration {
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// Left is how long it is until end, 0 or less where that is over.
func Left(end, now time.Time) time.Duration {
	return min(end.Sub(now), end.Round(0).Sub(now.Round(0)))
}

// Mark is end, a moment that somebody else's clock gave, to be compared by both of
// ours: a clock that is set back does not move it away.
func Mark(end, now time.Time) time.Time {
	return now.Add(end.Round(0).Sub(now.Round(0)))
}

// tolerance is what two clocks may differ by without being corrected: servers write
// whole seconds, and an answer takes a while.
const tolerance = 5 * time.Second

// Ahead is how far our clock is ahead of a server's, which read theirs a moment ago,
// and less than 0 where it is behind. A few seconds, and a zero theirs, count as 0.
func Ahead(theirs, now time.Time) time.Duration {
	ahead := now.Round(0).Sub(theirs.Round(0))
	if theirs.IsZero() || ahead.Abs() < tolerance {
		return 0
	}
	return ahead
}

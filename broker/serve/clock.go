package serve

import (
	"context"
	"time"
)

// clockEvery is how often the clock is looked at. GitHub is asked for the time once a
// minute where it is not asked for anything else.
const clockEvery = 5 * time.Second

// tokenTime is GitHub's clock, and this machine's before GitHub told it.
func (a *app) tokenTime() (now time.Time, isKnown bool) {
	app := a.latest.Load()
	if app == nil {
		return time.Now(), false
	}
	_, isKnown = app.Ahead()
	return app.Time(), isKnown
}

// time is tokenTime for what need not know whether it is known.
func (a *app) time() time.Time {
	now, _ := a.tokenTime()
	return now
}

// maxDoubt is what a clock is taken to be off that was never compared with GitHub's.
const maxDoubt = 24 * time.Hour

// earliest is the earliest that it may be: while GitHub's clock is not known, no token that
// may be alive passes for an expired one.
func (a *app) earliest() time.Time {
	now, isKnown := a.tokenTime()
	if !isKnown {
		now = now.Add(-maxDoubt)
	}
	return now
}

// clockProblem says how far this machine's clock is off GitHub's; "" where it is right.
func (a *app) clockProblem() string {
	app := a.latest.Load()
	if app == nil {
		return ""
	}
	return app.ClockProblem()
}

// watchClock learns GitHub's clock, and says in the log when this machine's is off.
func (d *daemon) watchClock(ctx context.Context) {
	was := ""
	every(ctx, clockEvery, func() {
		if app := d.app.latest.Load(); app != nil {
			_ = app.Sync(ctx) // without an answer the next look asks again
		}
		problem := d.app.clockProblem()
		if problem != was && problem != "" {
			d.log.Warn("the clock is off; tokens are read by GitHub's", "clock", problem)
		}
		was = problem
	})
}

// clockAhead is how far this machine's clock is ahead of GitHub's, in seconds.
func (d *daemon) clockAhead() float64 {
	app := d.app.latest.Load()
	if app == nil {
		return 0
	}
	ahead, _ := app.Ahead()
	return ahead.Seconds()
}

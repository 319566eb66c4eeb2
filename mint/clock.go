package mint

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

const (
	// clockTolerance is what a clock may be off without being corrected: a Date
	// header has whole seconds, and an answer takes a while.
	clockTolerance = 5 * time.Second
	// ClockWarning is from when on a clock is worth a warning.
	ClockWarning = 30 * time.Second

	syncEvery = time.Minute      // a reading is believed for this long without another
	syncAgain = 30 * time.Second // after an attempt without an answer
	syncWait  = 5 * time.Second  // for an answer
)

// A githubClock is how far this machine's clock is ahead of GitHub's, by the Date
// headers of GitHub's answers. All that GitHub names a moment for (a token's end, a
// rate limit's reset) is read by it, since a wrong clock would lose live tokens.
type githubClock struct {
	mu    sync.Mutex // guards the rest
	ahead time.Duration
	heard time.Time // the latest reading, by this machine's clock; zero for none

	asking sync.Mutex // held while GitHub is asked for the time, so that one asks for all
	tried  time.Time  // guarded by asking
}

// hear reads an answer to a request that was sent and whose answer arrived at these
// moments of this machine's clock. Errors of servers may be a proxy's and do not count.
func (g *githubClock) hear(r *http.Response, sent, arrived time.Time) {
	theirs, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil || r.StatusCode >= http.StatusInternalServerError {
		return
	}
	least, most := sent.Round(0).Sub(theirs)-time.Second, arrived.Round(0).Sub(theirs)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heard = arrived
	if g.ahead < least-clockTolerance || g.ahead > most+clockTolerance {
		g.ahead = ((least + most) / 2).Round(time.Second)
	}
	if g.ahead.Abs() < clockTolerance {
		g.ahead = 0
	}
}

func (g *githubClock) reading() (ahead time.Duration, heard time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ahead, g.heard
}

// isStale reports whether the reading is old, or the clock was set since.
func (g *githubClock) isStale(now time.Time) bool {
	_, heard := g.reading()
	wasSet := now.Sub(heard) - now.Round(0).Sub(heard.Round(0))
	since := clock.Since(heard, now)
	return heard.IsZero() || since < 0 || since > syncEvery || wasSet.Abs() > clockTolerance
}

// Time returns the time by GitHub's clock. Before GitHub's first answer it is this
// machine's.
func (a *App) Time() time.Time {
	ahead, _ := a.clock.reading()
	return a.now().Add(-ahead)
}

// Ahead returns how far this machine's clock is ahead of GitHub's, and less than 0
// where it is behind. ok is false before GitHub's first answer.
func (a *App) Ahead() (ahead time.Duration, ok bool) {
	ahead, heard := a.clock.reading()
	return ahead, !heard.IsZero()
}

// ClockProblem says in words that this machine's clock is off by [ClockWarning] or
// more, to ten seconds, and is "" where it is not.
func (a *App) ClockProblem() string {
	ahead, _ := a.Ahead()
	size := ahead.Abs().Round(10 * time.Second)
	switch {
	case ahead >= ClockWarning:
		return fmt.Sprintf("this machine's clock is %s ahead of GitHub's; set it: timedatectl", size)
	case ahead <= -ClockWarning:
		return fmt.Sprintf("this machine's clock is %s behind GitHub's; set it: timedatectl", size)
	}
	return ""
}

// Sync asks GitHub for the time, unless an answer told it within the last minute. It
// returns an error where the time is not known, after five seconds at most. The
// question does not count against a rate limit, and needs neither ID nor Signer of a.
func (a *App) Sync(ctx context.Context) error {
	if !a.clock.isStale(a.now()) {
		return nil
	}
	a.clock.asking.Lock()
	defer a.clock.asking.Unlock()
	if !a.clock.isStale(a.now()) {
		return nil
	}
	const doing = "ask GitHub for the time"
	if tried := a.clock.tried; !tried.IsZero() && clock.Since(tried, a.now()) < syncAgain {
		return &Error{Kind: Unavailable, Doing: doing, Message: "it did not answer a moment ago"}
	}
	if held := a.gate.held(call{doing: doing, open: true}, a.now()); held != nil {
		return held
	}
	ctx, cancel := context.WithTimeout(ctx, syncWait)
	defer cancel()
	err := a.Reach(ctx)
	if !a.clock.isStale(a.now()) {
		return nil
	}
	a.clock.tried = a.now()
	if err == nil {
		err = &Error{Kind: Unavailable, Doing: doing, Message: "the answer has no Date"}
	}
	return err
}

// Inherit takes over what another App learned of the same GitHub: the clock, the
// pauses that GitHub asked for, and the tokens that are to be taken back. It is for a
// program that reads its App anew, and is called before a is used.
func (a *App) Inherit(old *App) {
	if old == nil || old == a || old.base() != a.base() {
		return
	}
	a.owed.add(old.owed.take()...)
	a.clock.ahead, a.clock.heard = old.clock.reading()
	if old.ID == a.ID {
		old.gate.mu.Lock()
		defer old.gate.mu.Unlock()
		a.gate.all, a.gate.jwt, a.gate.strikes = old.gate.all, old.gate.jwt, old.gate.strikes
	}
}

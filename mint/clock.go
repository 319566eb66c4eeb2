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
	// clockTolerance is a clock difference that is not corrected: a Date header has
	// whole seconds, and an answer takes a while.
	clockTolerance = 5 * time.Second
	// ClockWarning is the clock difference from which there is a warning.
	ClockWarning = 30 * time.Second

	syncEvery   = time.Minute      // how long a reading is used without another one
	syncAgain   = 30 * time.Second // after an attempt without an answer
	syncTimeout = 5 * time.Second  // for an answer
)

// A githubClock measures how far this machine's clock is ahead of GitHub's, by the Date
// headers of GitHub's answers. All times that GitHub states (a token's expiry, a rate
// limit's reset) are read by it, since a wrong clock would lose live tokens.
type githubClock struct {
	mu     sync.Mutex // guards the rest
	ahead  time.Duration
	readAt time.Time // the latest reading, by this machine's clock; zero for none

	syncing sync.Mutex // held during a request for the time, so that one request serves all
	triedAt time.Time  // guarded by syncing
}

// update reads the time in an answer. sent and arrived are the times of the request and
// the answer by this machine's clock. It ignores server errors, which may come from a
// proxy.
func (g *githubClock) update(r *http.Response, sent, arrived time.Time) {
	theirs, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil || r.StatusCode >= http.StatusInternalServerError {
		return
	}
	least, most := sent.Round(0).Sub(theirs)-time.Second, arrived.Round(0).Sub(theirs)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.readAt = arrived
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
	return g.ahead, g.readAt
}

// isStale reports whether the reading is old, or the clock was set since.
func (g *githubClock) isStale(now time.Time) bool {
	_, heard := g.reading()
	wasSet := now.Sub(heard) - now.Round(0).Sub(heard.Round(0))
	since := clock.Since(heard, now)
	return heard.IsZero() || since < 0 || since > syncEvery || wasSet.Abs() > clockTolerance
}

// Time returns the time by GitHub's clock, or by this machine's clock before GitHub's
// first answer.
func (a *App) Time() time.Time {
	return a.rest().time()
}

// Ahead returns how far this machine's clock is ahead of GitHub's; a negative value is
// behind. ok is false before GitHub's first answer.
func (a *App) Ahead() (ahead time.Duration, ok bool) {
	ahead, heard := a.state.clock.reading()
	return ahead, !heard.IsZero()
}

// ClockProblem returns a message if this machine's clock is off by [ClockWarning] or
// more, rounded to ten seconds, and "" otherwise.
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

// Sync asks GitHub for the time, unless an answer stated it within the last minute. It
// returns an error if the time is not known after at most five seconds. The request
// does not count against a rate limit, and needs neither ID nor Signer of a.
func (a *App) Sync(ctx context.Context) error {
	if !a.state.clock.isStale(a.now()) {
		return nil
	}
	a.state.clock.syncing.Lock()
	defer a.state.clock.syncing.Unlock()
	if !a.state.clock.isStale(a.now()) {
		return nil
	}
	const doing = "ask GitHub for the time"
	if tried := a.state.clock.triedAt; !tried.IsZero() && clock.Since(tried, a.now()) < syncAgain {
		return &Error{Kind: Unavailable, Doing: doing, Message: "it did not answer a moment ago"}
	}
	if held := a.state.gate.blocked(call{doing: doing, open: true}, a.now()); held != nil {
		return held
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	err := a.Reach(ctx)
	if !a.state.clock.isStale(a.now()) {
		return nil
	}
	a.state.clock.triedAt = a.now()
	if err == nil {
		err = &Error{Kind: Unavailable, Doing: doing, Message: "the answer has no Date"}
	}
	return err
}

// Inherit copies what another App learned about the same GitHub: the clock, the pauses
// that GitHub asked for, and the tokens that are still to be revoked. It is for a program that
// reloads its App; call it before using a.
func (a *App) Inherit(old *App) {
	if old == nil || old == a || old.rest().base != a.rest().base {
		return
	}
	a.pending.add(old.pending.take()...)
	a.state.clock.ahead, a.state.clock.readAt = old.state.clock.reading()
	if old.ID == a.ID {
		to, from := &a.state.gate, &old.state.gate
		from.mu.Lock()
		defer from.mu.Unlock()
		to.all, to.jwt, to.strikes = from.all, from.jwt, from.strikes
	}
}

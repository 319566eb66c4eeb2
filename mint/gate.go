package mint

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

// GitHub asks for a minute after a secondary rate limit without Retry-After, and for
// longer each time after that
// (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately).
const (
	firstPause = time.Minute
	mostPause  = 32 * time.Minute
)

// A gate holds back the requests of one App while GitHub asks it to pause. Requests
// that go on meanwhile make the pause longer.
type gate struct {
	mu      sync.Mutex // guards the rest
	all     pause
	jwt     pause // of requests with the App's JWT; tokens have limits of their own
	strikes int   // pauses in a row whose length GitHub did not say
}

// A pause ends by this machine's clock. why is the answer that asked for it.
type pause struct {
	until time.Time
	why   *Error
}

// longer keeps the pause that ends later.
func (p *pause) longer(until time.Time, why *Error, now time.Time) {
	if p.why == nil || clock.Left(until, now) > clock.Left(p.until, now) {
		*p = pause{until, why}
	}
}

// close begins the pause that a rate limit asks for. sent is when the request was
// made: of several that are refused together, the first one counts.
func (g *gate) close(c call, e *Error, sent, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.isUntold {
		if g.all.why == nil || !sent.Before(g.all.until) {
			g.strikes++
		}
		e.RetryAfter = min(firstPause<<max(g.strikes-1, 0), mostPause)
	}
	why := *e // the caller goes on to change its own
	until := now.Add(e.RetryAfter)
	switch {
	case e.RetryAfter <= 0:
	case !e.isExhausted:
		g.all.longer(until, &why, now)
	case c.token == "":
		g.jwt.longer(until, &why, now)
	}
}

// open forgets how often GitHub asked, once a request after the pause went through.
func (g *gate) open(sent time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.strikes > 0 && !sent.Before(g.all.until) {
		g.strikes = 0
	}
}

// held returns the rate limit that a request would meet, with the time that is left;
// nil where it may go.
func (g *gate) held(c call, now time.Time) *Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, left := g.all, clock.Left(g.all.until, now)
	if jwt := clock.Left(g.jwt.until, now); c.token == "" && !c.open && jwt > left {
		p, left = g.jwt, jwt
	}
	if p.why == nil || left <= 0 {
		return nil
	}
	e := *p.why
	e.Doing, e.RetryAfter, e.Unseen = c.doing, left, 0
	return &e
}

// wait lets a request through, after the pause where that ends soon enough.
func (a *App) wait(ctx context.Context, c call) error {
	for {
		held := a.gate.held(c, a.now())
		if held == nil {
			return nil
		}
		if !a.sleep(ctx, held.RetryAfter+rand.N(time.Second)) {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			return held
		}
	}
}

// Paused returns the rate limit that holds back requests with the App's JWT, with the
// time that is left of it; nil where none does.
func (a *App) Paused() *Error { return a.gate.held(call{doing: "ask GitHub"}, a.now()) }

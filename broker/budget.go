package broker

import (
	"container/list"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// The parts of GitHub's hourly limit below which mints are restricted.
const (
	scarcePart  = 5         // below a fifth, workspaces share the rest
	reservePart = 20        // below a twentieth, only scopes without a token get a mint
	activeFor   = time.Hour // how long a workspace counts as active after its last mint: the life of a token
)

// A Budget divides GitHub's rate limit among workspaces. With enough left, every mint is
// allowed. With less than a fifth left, each workspace may cause its share of the rest until
// the limit resets. With less than a twentieth left, scopes that still have a token get no
// mint.
type Budget struct {
	Rate func() (mint.Rate, bool) // the rate limit that GitHub reported last; see [mint.App.Rate]
	Now  func() time.Time         // nil means time.Now

	mu     sync.Mutex               // guards the rest
	active map[string]*list.Element // by workspace
	order  list.List                // of asker: the active workspaces, the latest last
	pool   int                      // what was left when the limit became scarce
	until  time.Time                // end of pool's window; zero while the limit is not scarce
	used   map[string]int
}

func (b *Budget) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// Allow returns a [*Refusal] if the workspace may not cause a mint. hasToken says that the
// scope still has a working token.
func (b *Budget) Allow(workspace string, hasToken bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.note(workspace, now)
	r, known := b.Rate()
	if !known || !now.Before(r.Reset) || r.Remaining*scarcePart >= r.Limit {
		b.until = time.Time{}
		return nil
	}
	if !b.until.Equal(r.Reset) {
		b.pool, b.until, b.used = r.Remaining, r.Reset, map[string]int{}
	}
	wait := r.Reset.Sub(now)
	if hasToken && r.Remaining*reservePart < r.Limit {
		return scarce(wait, "GitHub's rate limit is nearly used up; the rest is reserved for first tokens")
	}
	if share := max(1, b.pool/len(b.active)); b.used[workspace] >= share {
		return scarce(wait, fmt.Sprintf("workspace %s has used up its share of GitHub's rate limit", workspace))
	}
	b.used[workspace]++
	return nil
}

// An activeWorkspace is a workspace and the time of its last request.
type activeWorkspace struct {
	workspace string
	last      time.Time
}

// note counts a workspace as active, and removes those that are no longer active from the
// front of the list: the cost does not depend on their number. The caller holds mu.
func (b *Budget) note(workspace string, now time.Time) {
	if b.active == nil {
		b.active = map[string]*list.Element{}
	}
	if e := b.active[workspace]; e != nil {
		e.Value = activeWorkspace{workspace, now}
		b.order.MoveToBack(e)
	} else {
		b.active[workspace] = b.order.PushBack(activeWorkspace{workspace, now})
	}
	for e := b.order.Front(); now.Sub(e.Value.(activeWorkspace).last) > activeFor; e = b.order.Front() {
		delete(b.active, b.order.Remove(e).(activeWorkspace).workspace)
	}
}

func scarce(wait time.Duration, detail string) *Refusal {
	return &Refusal{Status: http.StatusTooManyRequests, Reason: ReasonLimit, RetryAfter: max(wait, time.Second), Detail: detail}
}

// budgets has a Budget for each App and installation: each has its own rate limit. With a
// single App there is only the first.
type budgets struct {
	first  *Budget
	pooled Pooled // nil with one App
	now    func() time.Time

	mu sync.Mutex // guards of
	of map[string]*appBudget
}

// appBudget is the Budget of a seat. Its App may be reopened.
type appBudget struct {
	*Budget
	seat atomic.Pointer[mint.Candidate]
}

// allow is [Budget.Allow] for the App whose turn it is. It makes no calls and does not wait.
func (b *budgets) allow(workspace string, s Scope, hasToken bool) error {
	if b.pooled == nil {
		return b.first.Allow(workspace, hasToken)
	}
	seats := b.pooled.Candidates(s.Repo.Owner)
	if len(seats) < 2 {
		return b.first.Allow(workspace, hasToken)
	}
	if s.writesChecks() {
		seats = []mint.Candidate{mint.FirstByKey(s.poolKey(), seats...)}
	}
	seat, ok := b.pooled.Preferred(s.poolKey(), seats...)
	if !ok {
		return nil // the mint reports why no App can be used
	}
	return b.at(seat).Allow(workspace, hasToken)
}

func (b *budgets) at(seat mint.Candidate) *Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := fmt.Sprintf("%s %d", seat.Name, seat.Installation)
	if b.of == nil {
		b.of = map[string]*appBudget{}
	}
	own := b.of[key]
	if own == nil {
		own = new(appBudget)
		own.Budget = &Budget{Now: b.now, Rate: func() (mint.Rate, bool) {
			seat := own.seat.Load()
			return seat.App.RateOf(seat.Installation)
		}}
		b.of[key] = own
	}
	own.seat.Store(&seat)
	return own.Budget
}

// budgets returns the budgets of the configured GitHub.
func (c *Config) budgets(first *Budget) *budgets {
	pooled, _ := c.GitHub.(Pooled)
	return &budgets{first: first, pooled: pooled, now: c.TokenTime}
}

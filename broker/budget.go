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

// The parts of GitHub's hourly limit below which requests are counted.
const (
	scarcePart  = 5         // under a fifth, workspaces share what is left
	reservePart = 20        // under a twentieth, only what has no token at all is minted
	activeFor   = time.Hour // how long a workspace counts after its last mint: as long as a token lives
)

// A Budget shares what GitHub leaves of its rate limit. While there is enough
// everybody mints. When less than a fifth is left, each workspace may cause at
// most its share of that until GitHub's window ends, and when less than a
// twentieth is left nobody mints for a scope that still has a token.
type Budget struct {
	Rate func() (mint.Rate, bool) // what GitHub said last; see [mint.App.Rate]
	Now  func() time.Time         // nil means time.Now

	mu     sync.Mutex               // guards the rest
	active map[string]*list.Element // by workspace
	order  list.List                // of asker: the active ones, the one that asked last at the end
	pool   int                      // what was left when it became scarce
	until  time.Time                // end of the window that pool is of; zero while nothing is scarce
	spent  map[string]int
}

func (b *Budget) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// Allow returns a [*Refusal] where a workspace may not cause a mint. hasToken
// says that the scope has a token that still works.
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
		b.pool, b.until, b.spent = r.Remaining, r.Reset, map[string]int{}
	}
	wait := r.Reset.Sub(now)
	if hasToken && r.Remaining*reservePart < r.Limit {
		return scarce(wait, "GitHub's rate limit is nearly used up; the rest is for who has no token")
	}
	if share := max(1, b.pool/len(b.active)); b.spent[workspace] >= share {
		return scarce(wait, fmt.Sprintf("workspace %s has used up its share of GitHub's rate limit", workspace))
	}
	b.spent[workspace]++
	return nil
}

// An asker is a workspace and when it asked last.
type asker struct {
	workspace string
	last      time.Time
}

// note counts a workspace among the active ones. It looks at the others only as far as
// they are over, so that a call costs the same however many there are. The caller holds
// mu.
func (b *Budget) note(workspace string, now time.Time) {
	if b.active == nil {
		b.active = map[string]*list.Element{}
	}
	if e := b.active[workspace]; e != nil {
		e.Value = asker{workspace, now}
		b.order.MoveToBack(e)
	} else {
		b.active[workspace] = b.order.PushBack(asker{workspace, now})
	}
	for e := b.order.Front(); now.Sub(e.Value.(asker).last) > activeFor; e = b.order.Front() {
		delete(b.active, b.order.Remove(e).(asker).workspace)
	}
}

func scarce(wait time.Duration, detail string) *Refusal {
	return &Refusal{Status: http.StatusTooManyRequests, Reason: ReasonLimit, RetryAfter: max(wait, time.Second), Detail: detail}
}

// budgets have a Budget for each App and installation: one that is used up says nothing of
// the others. With one App there is the first alone.
type budgets struct {
	first  *Budget
	pooled Pooled // nil where there is one App
	now    func() time.Time

	mu sync.Mutex // guards of
	of map[string]*seatBudget
}

// seatBudget is the Budget of a seat, whose App may be opened anew.
type seatBudget struct {
	*Budget
	seat atomic.Pointer[mint.Seat]
}

// allow is [Budget.Allow] for a token of that scope, by the App whose turn it is. It asks
// nobody and does not wait.
func (b *budgets) allow(workspace string, s Scope, hasToken bool) error {
	if b.pooled == nil {
		return b.first.Allow(workspace, hasToken)
	}
	seats := b.pooled.Seats(s.Repo.Owner)
	if len(seats) < 2 {
		return b.first.Allow(workspace, hasToken)
	}
	if s.writesChecks() {
		seats = []mint.Seat{mint.FirstTurn(s.turnKey(), seats...)}
	}
	seat, ok := b.pooled.Whose(s.turnKey(), seats...)
	if !ok {
		return nil // the mint says why it has no App
	}
	return b.at(seat).Allow(workspace, hasToken)
}

func (b *budgets) at(seat mint.Seat) *Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := fmt.Sprintf("%s %d", seat.Name, seat.Installation)
	if b.of == nil {
		b.of = map[string]*seatBudget{}
	}
	own := b.of[key]
	if own == nil {
		own = new(seatBudget)
		own.Budget = &Budget{Now: b.now, Rate: func() (mint.Rate, bool) {
			seat := own.seat.Load()
			return seat.App.RateOf(seat.Installation)
		}}
		b.of[key] = own
	}
	own.seat.Store(&seat)
	return own.Budget
}

// budgets are those of the configuration's GitHub.
func (c *Config) budgets(first *Budget) *budgets {
	pooled, _ := c.GitHub.(Pooled)
	return &budgets{first: first, pooled: pooled, now: c.TokenTime}
}

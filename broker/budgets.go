package broker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/mint"
)

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

package rest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// GitHub lets an installation spend 900 points a minute, whatever is left of its hour,
// and here also counts 304 answers
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits).
// So one workspace gets a third of that; a client at full speed is slowed down.
const (
	leastPerMinute = 300
	ahead          = 30 * time.Second // how far a workspace may be ahead of a steady pace
	longestTurn    = 10 * time.Second // the longest wait of a request; if it would wait longer, it is refused
)

// perMinute returns the pace of one workspace with that budget: 15 % of its hour, but
// at least leastPerMinute.
func perMinute(perHour int) int { return max(leastPerMinute, perHour*3/20) }

// cost returns how many points GitHub counts for a request.
func (c *call) cost() int {
	if isSafe(c.r.Method) || c.target.area == graphqlArea {
		return 1
	}
	return 5
}

// turn returns how long a request that costs points must wait, or refuses it.
func (b *budget) turn(workspace string, perMinute, points int, now time.Time) (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.window(account{workspace, coreResource}, now)
	due := w.due
	if due.Before(now) {
		due = now
	}
	due = due.Add(time.Duration(points) * time.Minute / time.Duration(perMinute))
	wait := due.Sub(now) - ahead
	if wait > longestTurn {
		return 0, &broker.Refusal{
			Status: http.StatusTooManyRequests, Reason: broker.ReasonLimit, RetryAfter: wait,
			Detail: fmt.Sprintf("workspace %s sends more than %d requests in a minute to GitHub's API; send fewer", workspace, perMinute),
		}
	}
	w.due = due
	return max(wait, 0), nil
}

// awaitTurn delays the request, or refuses it, to keep the workspace to its pace.
func (c *call) awaitTurn() error {
	wait, err := c.budget.turn(c.caller.ID, perMinute(c.perHour()), c.cost(), c.now())
	if err != nil || wait == 0 {
		return err
	}
	if err := pause(c.r.Context(), wait); err != nil {
		return unavailable("the request ended while it waited for its turn", err)
	}
	return nil
}

package rest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// GitHub lets an installation spend 900 points a minute, whatever its hour leaves, and counts
// answers of 304 there as well (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits).
// So one workspace has a third of that, and a client that goes on at full speed is slowed down.
const (
	leastPerMinute = 300
	ahead          = 30 * time.Second // of a steady pace, that a workspace may be at once
	longestTurn    = 10 * time.Second // that a request waits; one that would wait longer is refused
)

// perMinute is the pace of one workspace with that budget: no more than 15 % of its hour.
func perMinute(perHour int) int { return max(leastPerMinute, perHour*3/20) }

// cost is what GitHub counts for a request.
func (c *call) cost() int {
	if isSafe(c.r.Method) || c.target.area == graphqlArea {
		return 1
	}
	return 5
}

// turn returns how long a request of so many points has to wait, or refuses it.
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

// awaitTurn keeps the workspace to its pace.
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

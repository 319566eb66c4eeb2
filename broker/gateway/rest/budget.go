package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// DefaultPerHour is how many requests per hour a workspace may send to GitHub's API:
// two fifths of the least that GitHub allows an installation.
const DefaultPerHour = 2000

// A budget limits each workspace's requests per hour, and its GraphQL points
// separately. The hour starts with the workspace's first request. GitHub counts all
// workspaces of an installation together, so without this, one workspace that polls
// could use up the requests of all.
type budget struct {
	mu      sync.Mutex // guards the rest
	windows map[account]*window
	swept   time.Time
}

// An account is a workspace and a resource, which are counted together.
type account struct{ workspace, resource string }

// The resources, by GitHub's names.
const (
	coreResource    = "core"
	graphqlResource = "graphql"
)

type window struct {
	used    int
	ends    time.Time
	running int
	due     time.Time // when the next request is due at a steady pace
}

// maxRunning is how many concurrent requests one workspace may have: each uses a
// connection and buffers.
const maxRunning = 32

// enter counts a running request, or refuses it. The caller must call leave when it has
// ended.
func (b *budget) enter(workspace string, now time.Time) (leave func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.window(account{workspace, coreResource}, now)
	if w.running >= maxRunning {
		return nil, &broker.Refusal{
			Status: http.StatusTooManyRequests, Reason: broker.ReasonLimit, RetryAfter: time.Second,
			Detail: fmt.Sprintf("workspace %s has %d running requests to GitHub's API already", workspace, w.running),
		}
	}
	w.running++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		w.running--
	}, nil
}

// A balance is what a workspace has left.
type balance struct {
	resource    string
	limit, used int
	reset       time.Time
}

// take takes points from the account. If too few are left, it refuses the request and
// takes nothing.
func (b *budget) take(a account, perHour, points int, now time.Time) (balance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.window(a, now)
	left := balance{a.resource, perHour, w.used, w.ends}
	if points > left.remaining() {
		return left, &broker.Refusal{
			Status: http.StatusTooManyRequests, Reason: broker.ReasonLimit, RetryAfter: max(left.reset.Sub(now), time.Second),
			Detail: fmt.Sprintf("workspace %s has %d left of its %d %s for this hour at GitHub's API, but this request needs %d; wait until %s", a.workspace, left.remaining(), perHour, unit(a.resource), points, left.reset.UTC().Format(time.RFC3339)),
		}
	}
	w.used += points
	left.used = w.used
	return left, nil
}

func unit(resource string) string {
	if resource == graphqlResource {
		return "points of GraphQL"
	}
	return "requests"
}

// undo undoes the count of one request.
func (b *budget) undo(a account, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.window(a, now)
	w.used = max(0, w.used-1)
}

// remaining returns what an account has left.
func (b *budget) remaining(a account, perHour int, now time.Time) balance {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.window(a, now)
	return balance{a.resource, perHour, w.used, w.ends}
}

// window returns an account's current window. The caller holds mu.
func (b *budget) window(a account, now time.Time) *window {
	b.sweep(now)
	w := b.windows[a]
	if w == nil {
		w = new(window)
		b.windows[a] = w
	}
	if !w.ends.After(now) {
		w.used, w.ends = 0, now.Add(time.Hour)
	}
	return w
}

// sweep removes windows that have ended. The caller holds mu.
func (b *budget) sweep(now time.Time) {
	if b.windows == nil {
		b.windows = map[account]*window{}
	}
	if now.Sub(b.swept) < time.Minute {
		return
	}
	b.swept = now
	for a, w := range b.windows {
		if !w.ends.After(now) && w.running == 0 && !w.due.After(now) {
			delete(b.windows, a)
		}
	}
}

// remaining returns how many requests or points are left.
func (b balance) remaining() int { return max(0, b.limit-b.used) }

// write sets the rate limit headers that GitHub uses to the balance, unless h has
// GitHub's own and those leave less.
func (b balance) write(h http.Header) {
	theirs, err := strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	if err == nil && theirs < b.remaining() {
		return
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(b.limit))
	h.Set("X-RateLimit-Used", strconv.Itoa(min(b.used, b.limit)))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(b.remaining()))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(b.reset.Unix(), 10))
	if h.Get("X-RateLimit-Resource") == "" {
		h.Set("X-RateLimit-Resource", b.resource)
	}
}

// GitHub lets an installation spend 900 points a minute, whatever is left of its hour,
// and here also counts 304 answers
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits).
// So one workspace gets a third of that; a client at full speed is slowed down.
const (
	minPerMinute = 300
	ahead        = 30 * time.Second // how far a workspace may be ahead of a steady pace
	maxTurn      = 10 * time.Second // the longest wait of a request; if it would wait longer, it is refused
)

// perMinute returns the pace of one workspace with that budget: 15 % of its hour, but
// at least minPerMinute.
func perMinute(perHour int) int { return max(minPerMinute, perHour*3/20) }

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
	if wait > maxTurn {
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

package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// DefaultPerHour is how many requests a workspace may send to GitHub's API in an hour: two
// fifths of what GitHub gives an installation at least.
const DefaultPerHour = 2000

// A budget counts requests of workspaces in windows of an hour, each from a workspace's
// first request on, and the points of GraphQL in others. GitHub counts all workspaces of an installation together, so that one
// that polls would spend the requests of all.
type budget struct {
	mu      sync.Mutex // guards the rest
	windows map[account]*window
	swept   time.Time
}

// An account is what of a workspace's requests are counted together.
type account struct{ workspace, resource string }

// The resources, as GitHub calls them.
const (
	coreResource    = "core"
	graphqlResource = "graphql"
)

type window struct {
	used    int
	ends    time.Time
	running int
	due     time.Time // when the next request is, at a steady pace
}

// maxRunning is how many requests of one workspace run at once: each holds a connection
// and buffers.
const maxRunning = 32

// enter counts a request in, or refuses it. The caller calls leave when it has ended.
func (b *budget) enter(workspace string, now time.Time) (leave func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.window(account{workspace, coreResource}, now)
	if w.running >= maxRunning {
		return nil, &broker.Refusal{
			Status: http.StatusTooManyRequests, Reason: broker.ReasonLimit, RetryAfter: time.Second,
			Detail: fmt.Sprintf("workspace %s has %d requests to GitHub's API running already", workspace, w.running),
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

// spend counts so many points, or refuses the request and counts nothing.
func (b *budget) spend(a account, perHour, points int, now time.Time) (balance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.window(a, now)
	left := balance{a.resource, perHour, w.used, w.ends}
	if points > left.remaining() {
		return left, &broker.Refusal{
			Status: http.StatusTooManyRequests, Reason: broker.ReasonLimit, RetryAfter: max(left.reset.Sub(now), time.Second),
			Detail: fmt.Sprintf("workspace %s has %d left of its %d %s of this hour at GitHub's API, and this request needs %d; wait until %s", a.workspace, left.remaining(), perHour, unit(a.resource), points, left.reset.UTC().Format(time.RFC3339)),
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

// giveBack takes back the count of one request.
func (b *budget) giveBack(a account, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.window(a, now)
	w.used = max(0, w.used-1)
}

// look returns what a workspace has left.
func (b *budget) look(a account, perHour int, now time.Time) balance {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.window(a, now)
	return balance{a.resource, perHour, w.used, w.ends}
}

// window is that of an account now. The caller holds mu.
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

// sweep forgets windows that are over. The caller holds mu.
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

// remaining is how many requests are left.
func (b balance) remaining() int { return max(0, b.limit-b.used) }

// write says the balance as GitHub says an installation's, unless GitHub leaves less than
// that, as h has it already.
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

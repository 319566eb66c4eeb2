package gateway

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
)

// errCut ends a running transfer whose workspace was blocked, or whose policy changed.
var errCut error = denied(broker.ReasonBlocked, "the workspace is blocked, or its policy has changed")

// transfers are the running transfers, and the bytes that workspaces have moved in the
// last hour.
type transfers struct {
	mu      sync.Mutex // guards the rest
	running map[*transfer]struct{}
	byID    map[string]int      // number running, by workspace
	moved   map[string]*account // by workspace
	sweepAt time.Time

	known time.Time // when the block list was last read; used only by Watch
}

// A transfer is one running transfer.
type transfer struct {
	caller access.Caller
	owner  string
	cut    context.CancelCauseFunc
	isFree bool // an answer of the API, which is not counted
}

// An account is how many bytes a workspace may still move. It refills within an hour.
// It falls below zero during a transfer that is longer; the next transfer then waits.
type account struct {
	left float64
	at   time.Time
}

const hour = float64(time.Hour)

// begin counts a new transfer, or refuses it. The context ends when the transfer is
// cut.
func (ts *transfers) begin(ctx context.Context, c access.Caller, owner string, s Settings, now func() time.Time) (context.Context, func(moved int64), error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if err := ts.refusal(c.ID, s, now()); err != nil {
		return nil, nil, err
	}
	ctx, cut := context.WithCancelCause(ctx)
	t := &transfer{caller: c, owner: owner, cut: cut}
	ts.add(t)
	ts.byID[c.ID]++
	return ctx, func(moved int64) { ts.end(t, moved, s, now) }, nil
}

// watched returns a context that ends like that of a transfer, without counting one.
func (ts *transfers) watched(ctx context.Context, c access.Caller, owner string) (context.Context, func()) {
	ctx, cut := context.WithCancelCause(ctx)
	t := &transfer{caller: c, owner: owner, cut: cut, isFree: true}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.add(t)
	return ctx, func() {
		cut(nil)
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.running, t)
	}
}

// add registers a transfer. The caller holds mu.
func (ts *transfers) add(t *transfer) {
	if ts.running == nil {
		ts.running, ts.byID = map[*transfer]struct{}{}, map[string]int{}
	}
	ts.running[t] = struct{}{}
}

// refusal returns why one more transfer would be refused; nil if it would not. The
// caller holds mu.
func (ts *transfers) refusal(workspace string, s Settings, now time.Time) error {
	if n := ts.byID[workspace]; s.Transfers > 0 && n >= s.Transfers {
		return tooMany(time.Second, fmt.Sprintf("workspace %s has %d running transfers already", workspace, n))
	}
	if s.Rate <= 0 {
		return nil
	}
	a := ts.account(workspace, s, now)
	if a.left > 0 {
		return nil
	}
	wait := time.Duration(-a.left/float64(s.Rate)*hour) + time.Second
	return tooMany(wait, fmt.Sprintf("workspace %s has moved more than %d bytes in an hour", workspace, s.Rate))
}

// over returns what begin would return, and counts nothing.
func (ts *transfers) over(workspace string, s Settings, now time.Time) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.refusal(workspace, s, now)
}

// account returns a workspace's account, refilled to now. The caller holds mu.
func (ts *transfers) account(workspace string, s Settings, now time.Time) *account {
	ts.sweep(s, now)
	a := ts.moved[workspace]
	if a == nil {
		a = &account{left: float64(s.Rate), at: now}
		ts.moved[workspace] = a
	}
	a.left = min(float64(s.Rate), a.left+max(0, float64(now.Sub(a.at)))/hour*float64(s.Rate))
	a.at = now
	return a
}

// sweep removes workspaces that have moved nothing for an hour. The caller holds mu.
func (ts *transfers) sweep(s Settings, now time.Time) {
	if ts.moved == nil {
		ts.moved = map[string]*account{}
	}
	if now.Before(ts.sweepAt) {
		return
	}
	ts.sweepAt = now.Add(time.Minute)
	for id, a := range ts.moved {
		if a.left >= 0 && now.Sub(a.at) >= time.Hour {
			delete(ts.moved, id)
		}
	}
}

func (ts *transfers) end(t *transfer, moved int64, s Settings, now func() time.Time) {
	t.cut(nil)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.running, t)
	if ts.byID[t.caller.ID]--; ts.byID[t.caller.ID] <= 0 {
		delete(ts.byID, t.caller.ID)
	}
	if s.Rate > 0 {
		ts.account(t.caller.ID, s, now()).left -= float64(moved)
	}
}

func tooMany(wait time.Duration, detail string) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusTooManyRequests, Reason: broker.ReasonLimit, RetryAfter: wait, Detail: detail}
}

// Running returns how many transfers run. Answers of GitHub's API do not count.
func (g *Gateway) Running() (n int) {
	g.transfers.mu.Lock()
	defer g.transfers.mu.Unlock()
	for t := range g.transfers.running {
		if !t.isFree {
			n++
		}
	}
	return n
}

// watchEvery is how often running transfers are checked against the block list and the
// policy.
const watchEvery = time.Second

// Watch runs until ctx ends. It cuts transfers of workspaces that were blocked, or
// whose rule or profile changed, and calls Sweep every half minute.
func (g *Gateway) Watch(ctx context.Context) {
	g.transfers.known = time.Now()
	var sweeps sync.WaitGroup
	defer sweeps.Wait()
	sweeps.Go(func() { g.sweeps(ctx) })
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.cutForbidden(ctx)
		}
	}
}

// cutAfter is how long the block list may be unreadable before running transfers are
// cut. New transfers are refused at once.
const cutAfter = 5 * time.Second

func (g *Gateway) cutForbidden(ctx context.Context) {
	if _, err := g.Access.Broker.Blocklist.All(ctx); err == nil {
		g.transfers.known = time.Now()
	} else if time.Since(g.transfers.known) < cutAfter {
		return
	}
	g.transfers.mu.Lock()
	running := make([]*transfer, 0, len(g.transfers.running))
	for t := range g.transfers.running {
		running = append(running, t)
	}
	g.transfers.mu.Unlock()
	for _, t := range running {
		if g.isForbidden(ctx, t) {
			t.cut(errCut)
		}
	}
}

// isForbidden reports whether a running transfer would be refused if it began now. If
// the block list cannot be read, it would.
func (g *Gateway) isForbidden(ctx context.Context, t *transfer) bool {
	blocked, err := g.Access.Broker.Blocklist.BlockedFor(ctx, t.caller.ID, t.owner)
	if blocked || err != nil {
		return true
	}
	policy := g.Access.Broker.Policy()
	if policy == t.caller.Policy {
		return false
	}
	rule, ok := policy.FindRule(t.caller.Rule, t.caller.RuleHash)
	return !ok || rule.Profile == nil || rule.Profile.Version != t.caller.Profile.Version
}

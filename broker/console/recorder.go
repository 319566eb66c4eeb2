package console

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
)

const (
	maxRefused = 200
	maxPushes  = 200   // refs of refused pushes
	maxOfOne   = 20    // of each, from one workspace
	maxUnknown = 100   // refusals without a workspace
	maxSeen    = 20000 // workspaces in one generation of seen
)

// A Recorder is a journal that also remembers, for operators, the last refusals, the
// last refused pushes that workspaces reported, and when each workspace was last seen.
// It passes each entry to Next first. It knows only what this replica has answered
// since it started.
type Recorder struct {
	Next broker.Journal

	mu      sync.Mutex     // guards the rest
	refused []broker.Entry // oldest first
	pushes  []broker.Entry // reported by workspaces, oldest first
	gateway []broker.Entry // through the gateway, with their outcome, oldest first
	seen    map[string]lastRequest
	before  map[string]lastRequest // the generation before; two generations bound seen
}

type lastRequest struct {
	at   time.Time
	rule string
}

// Write implements [broker.Journal]. It remembers entries as [audit.Bound] shortens
// them.
func (r *Recorder) Write(ctx context.Context, e broker.Entry, durable bool) error {
	if err := r.Next.Write(ctx, e, durable); err != nil {
		return err
	}
	switch e.Kind {
	case broker.KindRequest, broker.KindLogin:
		r.note(e)
	case broker.KindReported:
		r.notePush(&r.pushes, e)
	case broker.KindPush:
		if e.Ref != "" && e.Outcome != "" {
			r.notePush(&r.gateway, e)
		}
	}
	return nil
}

// notePush remembers one ref of a push. What workspaces report is in another list than
// what the broker decided.
func (r *Recorder) notePush(list *[]broker.Entry, e broker.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = remember(*list, e, maxPushes, maxOfOne)
}

// remember appends an entry, shortened by [audit.Bound], to a list of at most max
// entries, at most ofOne of them from its workspace, so that a busy workspace hides few
// entries of others. It drops the oldest.
func remember(list []broker.Entry, e broker.Entry, max, ofOne int) []broker.Entry {
	e, _ = audit.Bound(e)
	ofSame := func(o broker.Entry) bool { return o.Workspace == e.Workspace }
	if countIf(list, ofSame) >= ofOne {
		i := slices.IndexFunc(list, ofSame)
		list = slices.Delete(list, i, i+1)
	}
	if len(list) >= max {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, e)
}

func countIf(list []broker.Entry, is func(broker.Entry) bool) (n int) {
	for _, e := range list {
		if is(e) {
			n++
		}
	}
	return n
}

func (r *Recorder) note(e broker.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Decision == broker.Refused {
		ofOne := maxOfOne
		if e.Workspace == "" { // a stranger
			ofOne = maxUnknown
		}
		r.refused = remember(r.refused, e, maxRefused, ofOne)
	}
	if e.Workspace == "" {
		return
	}
	if r.seen == nil || len(r.seen) >= maxSeen {
		r.before, r.seen = r.seen, map[string]lastRequest{}
	}
	r.seen[e.Workspace] = lastRequest{e.Time, e.Rule}
}

// Refused returns the last refusals, latest first.
func (r *Recorder) Refused() []broker.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return latestFirst(r.refused)
}

// Pushes returns the last refused pushes that workspaces reported, one entry a ref,
// latest first.
func (r *Recorder) Pushes() []broker.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return latestFirst(r.pushes)
}

// Gateway returns the last pushes through the gateway, one entry a ref, latest first.
func (r *Recorder) Gateway() []broker.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return latestFirst(r.gateway)
}

func latestFirst(list []broker.Entry) []broker.Entry {
	last := slices.Clone(list)
	slices.Reverse(last)
	return last
}

// lastSeen returns when a workspace last made a request, and the rule that matched.
func (r *Recorder) lastSeen(workspace string) lastRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.seen[workspace]; ok {
		return s
	}
	return r.before[workspace]
}

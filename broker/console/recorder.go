package console

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
)

const (
	maxRefused = 200
	maxSeen    = 20000 // workspaces in one generation of what was last seen
)

// A Recorder is a journal that remembers, for operators to look at, the last
// refusals and when workspaces were last seen, after the journal behind it has
// written them down. It knows what this replica answered since it began.
type Recorder struct {
	Next broker.Journal

	mu      sync.Mutex     // guards the rest
	refused []broker.Entry // oldest first
	seen    map[string]sighting
	before  map[string]sighting // the generation before, so that seen is bounded
}

type sighting struct {
	at   time.Time
	rule string
}

// Write implements [broker.Journal].
func (r *Recorder) Write(ctx context.Context, e broker.Entry, durable bool) error {
	if err := r.Next.Write(ctx, e, durable); err != nil {
		return err
	}
	if e.Kind == broker.KindRequest || e.Kind == broker.KindLogin {
		r.note(e)
	}
	return nil
}

func (r *Recorder) note(e broker.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Decision == broker.Refused {
		if len(r.refused) >= maxRefused {
			r.refused = slices.Delete(r.refused, 0, len(r.refused)-maxRefused+1)
		}
		r.refused = append(r.refused, e)
	}
	if e.Workspace == "" {
		return
	}
	if r.seen == nil || len(r.seen) >= maxSeen {
		r.before, r.seen = r.seen, map[string]sighting{}
	}
	r.seen[e.Workspace] = sighting{e.Time, e.Rule}
}

// Refused returns the last refusals, the latest first.
func (r *Recorder) Refused() []broker.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := slices.Clone(r.refused)
	slices.Reverse(last)
	return last
}

// lastSeen returns when a workspace asked for something, and by which rule it
// did.
func (r *Recorder) lastSeen(workspace string) sighting {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.seen[workspace]; ok {
		return s
	}
	return r.before[workspace]
}

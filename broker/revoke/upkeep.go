package revoke

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/internal/clock"
)

// leaseLife is how long the lease outlives a replica that died. If a target takes
// longer, two replicas may work on it.
const leaseLife = 30 * time.Second

// progress is the state of the replica that has the lease. It is in the lease's note,
// so that the next holder goes on from there.
type progress struct {
	mu    sync.Mutex // guards the rest
	until time.Time  // this replica has the lease until then
	since time.Time  // when this replica got the lease
	note  note
}

// A note is what the lease's holder leaves to the next. Other versions of the broker
// read it, so its fields must keep their names.
type note struct {
	Settled string `json:"settled,omitempty"` // hash of the targets that hold nothing
	// The state of the round: the folder it is in, the last name it has seen
	// there, the number of calls for names, and when the next round begins.
	Folder int       `json:"folder,omitempty"`
	After  string    `json:"after,omitempty"`
	Asked  int       `json:"asked,omitempty"`
	Next   time.Time `json:"next,omitzero"`
}

// isHolder reports whether this replica has the lease. It does not ask the store.
func (p *progress) isHolder(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return clock.Left(p.until, now) > 0
}

func (p *progress) get() note {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.note
}

func (p *progress) change(change func(*note)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.note)
}

func (p *progress) settled(targets []blocklist.Target) {
	p.change(func(n *note) { n.Settled = hashOf(targets) })
}

func (p *progress) isSettled(targets []blocklist.Target) bool {
	return p.get().Settled == hashOf(targets)
}

// hashOf returns a hash that identifies a set of targets.
func hashOf(targets []blocklist.Target) string {
	texts := make([]string, len(targets))
	for i, t := range targets {
		texts[i] = t.String()
	}
	slices.Sort(texts)
	text, _ := json.Marshal(texts) // strings
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// holdLease takes the lease, or extends it after half its time, and reports whether this
// replica has it. While another replica has it, holdLease does not ask the store until that
// one's lease ends. The caller holds the reconciler's mutex.
func (r *Revoker) holdLease(ctx context.Context) (bool, error) {
	l := &r.reconciler.lease
	wasHeld := l.IsHeld()
	if l.Left() > leaseLife/2 || !wasHeld && l.Left() > 0 {
		return wasHeld, nil
	}
	text, err := json.Marshal(r.progress.get())
	if err != nil {
		return false, err
	}
	isHeld, err := l.Hold(ctx, string(text))
	r.leaseChanged(isHeld && !wasHeld)
	return isHeld, err
}

// leaseChanged records until when this replica has the lease.
func (r *Revoker) leaseChanged(isNew bool) {
	l, p := &r.reconciler.lease, &r.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
	if l.IsHeld() {
		p.until = r.Now().Add(l.Left())
	}
	if !isNew {
		return
	}
	p.since, p.note = r.Now(), note{}
	if json.Unmarshal([]byte(l.Note()), &p.note) != nil {
		p.note = note{} // starts a new round
	}
	r.reconciler.isNew, r.reconciler.targets, r.reconciler.nextCheck = true, map[blocklist.Target]*targetState{}, time.Time{}
}

// Release lets another replica go on with what this one does for all, and waits until
// work in the background has ended, or ctx has. Call it once, when the broker ends.
func (r *Revoker) Release(ctx context.Context) error {
	err := r.release(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.background.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return err
}

func (r *Revoker) release(ctx context.Context) error {
	r.reconciler.mu.Lock()
	defer r.reconciler.mu.Unlock()
	text, err := json.Marshal(r.progress.get())
	if err == nil {
		err = r.reconciler.lease.Release(ctx, string(text))
	}
	r.leaseChanged(false)
	return err
}

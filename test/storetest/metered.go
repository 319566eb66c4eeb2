package storetest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/gatepass/gatepass/store"
)

// A Metered is a store that counts the calls that a remote store would receive, and
// delays calls beyond a quota.
type Metered struct {
	store.Store
	Latency time.Duration // of a call
	Page    int           // names per call of a list; 0 means all
	// Calls per second; 0 means any number. The quota of one second may be used at
	// once. Reads are gets and pages of lists.
	Reads, Puts, Deletes int

	mu    sync.Mutex // guards the rest
	calls Calls
	turns [3]time.Time // when the quotas of reads, puts and deletes are full again
}

// Calls are the numbers of calls of a Metered.
type Calls struct{ Gets, Pages, Puts, Deletes int }

// All returns the number of all calls.
func (c Calls) All() int { return c.Gets + c.Pages + c.Puts + c.Deletes }

// Taken returns the calls since its previous call.
func (m *Metered) Taken() Calls {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.calls
	m.calls = Calls{}
	return taken
}

var errThrottled = errors.New("the store throttles")

// call waits for the turn of a call, and then for the call's duration.
func (m *Metered) call(ctx context.Context, kind, rate int, count *int) error {
	wait := m.turn(kind, rate, count)
	if deadline, ok := ctx.Deadline(); ok && wait > time.Until(deadline) {
		<-ctx.Done()
		return errThrottled
	}
	if wait += m.Latency; wait <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// turn counts a call, and returns how long it must wait.
func (m *Metered) turn(kind, rate int, count *int) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	*count++
	if rate == 0 {
		return 0
	}
	now := time.Now()
	if m.turns[kind].Before(now) {
		m.turns[kind] = now
	}
	m.turns[kind] = m.turns[kind].Add(time.Second / time.Duration(rate))
	return max(m.turns[kind].Sub(now)-time.Second, 0)
}

// Get implements [store.Store].
func (m *Metered) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	if err := m.call(ctx, 0, m.Reads, &m.calls.Gets); err != nil {
		return store.Entry{}, err
	}
	return m.Store.Get(ctx, name)
}

// Put implements [store.Store].
func (m *Metered) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	if err := m.call(ctx, 1, m.Puts, &m.calls.Puts); err != nil {
		return err
	}
	return m.Store.Put(ctx, name, value, mode)
}

// Delete implements [store.Store].
func (m *Metered) Delete(ctx context.Context, name store.Name) error {
	if err := m.call(ctx, 2, m.Deletes, &m.calls.Deletes); err != nil {
		return err
	}
	return m.Store.Delete(ctx, name)
}

// List implements [store.Store].
func (m *Metered) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		began := time.Now()
		if err := m.call(ctx, 0, m.Reads, &m.calls.Pages); err != nil {
			yield(store.Name{}, err)
			return
		}
		n, took := 0, time.Since(began)
		for name, err := range m.Store.List(ctx, below) {
			if n > 0 && m.Page > 0 && n%m.Page == 0 {
				err := store.Pause(ctx, took)
				began = time.Now()
				if err == nil {
					err = m.call(ctx, 0, m.Reads, &m.calls.Pages)
				}
				took = time.Since(began)
				if err != nil {
					yield(store.Name{}, err)
					return
				}
			}
			n++
			if !yield(name, err) {
				return
			}
		}
	}
}

package broker

import (
	"context"
	"sync"
	"time"

	"github.com/gatepass/gatepass/store"
)

// announceTime is the timeout of one announcement; a throttled store may be slow.
const announceTime = 20 * time.Second

// An announcer announces changes of the block list. Changes made during one
// announcement go together into the next: a sweep that marks hundreds of tokens needs
// only a few announcements.
type announcer struct {
	mu   sync.Mutex // guards the rest
	next *announcement
	busy bool
}

type announcement struct {
	set  []store.Name
	done chan struct{} // closed once err is set
	err  error
}

// tell announces that entries were written or deleted, and returns after the
// announcement.
func (a *announcer) tell(ctx context.Context, s store.Store, set ...store.Name) error {
	a.mu.Lock()
	if a.next == nil {
		a.next = &announcement{done: make(chan struct{})}
	}
	mine := a.next
	mine.set = append(mine.set, set...)
	if !a.busy {
		a.busy = true
		go a.run(context.WithoutCancel(ctx), s)
	}
	a.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes announcements until there are no more.
func (a *announcer) run(ctx context.Context, s store.Store) {
	for {
		a.mu.Lock()
		now := a.next
		a.next, a.busy = nil, now != nil
		a.mu.Unlock()
		if now == nil {
			return
		}
		now.err = announce(ctx, s, now.set)
		close(now.done)
	}
}

// announce goes before other writes, because it may contain a block, or a block may
// wait for it.
func announce(ctx context.Context, s store.Store, set []store.Name) error {
	ctx, cancel := context.WithTimeout(store.Urgently(ctx), announceTime)
	defer cancel()
	return store.Announce(ctx, s, set...)
}

package broker

import (
	"context"
	"slices"
	"time"

	"github.com/gatepass/gatepass/store"
)

// watchAgain is the time between two attempts to watch a store.
const watchAgain = time.Second

// Watch looks as soon as the store reports a change, until ctx ends. It returns at once
// if the store does not report changes. Requests still start looks, because a watch can
// fail unnoticed for some time.
func (b *Blocklist) Watch(ctx context.Context) {
	watcher, ok := b.Store.(store.Watcher)
	for ok && ctx.Err() == nil {
		_ = watcher.Watch(ctx, store.AllBlocks(), func() { b.changed(ctx) }) // the next look reports what is wrong with the store
		select {
		case <-time.After(watchAgain):
		case <-ctx.Done():
		}
	}
}

// changed looks and returns when the look is done; it does not wait for the whole list.
func (b *Blocklist) changed(ctx context.Context) {
	b.mu.Lock()
	r := b.start(b.now())
	b.mu.Unlock()
	go b.finish(ctx, r)
	for {
		b.mu.Lock()
		isLooking, ended := slices.Contains(b.under, r) && !r.isLooked, b.ended
		b.mu.Unlock()
		if !isLooking {
			return
		}
		<-ended
	}
}

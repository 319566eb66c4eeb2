package broker

import (
	"context"
	"slices"
	"time"

	"github.com/gatepass/gatepass/store"
)

// watchAgain is between two tries to watch a store.
const watchAgain = time.Second

// Watch looks as soon as the store says that something changed, until ctx ends; it returns
// at once where the store says nothing. The looks of those who ask go on: a watch may be
// lost without a notice for a while.
func (b *Blocklist) Watch(ctx context.Context) {
	watcher, ok := b.Store.(store.Watcher)
	for ok && ctx.Err() == nil {
		_ = watcher.Watch(ctx, store.AllBlocks(), func() { b.changed(ctx) }) // a look says what is wrong with the store
		select {
		case <-time.After(watchAgain):
		case <-ctx.Done():
		}
	}
}

// changed looks, and returns when that is done; what is listed then is not waited for.
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

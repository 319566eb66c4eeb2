package broker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/store"
)

// Bars are the workspaces that are given nothing any more. They are in the
// store, so that every replica knows them, through a restart too; what others
// wrote is read again every Every, and what this one wrote holds at once. While
// the store cannot be read for Stale, everybody is barred.
type Bars struct {
	Store store.Store
	Every time.Duration    // 0 means half a second
	Stale time.Duration    // 0 means half a minute
	Now   func() time.Time // nil means time.Now

	mu     sync.Mutex // guards the rest; held while the store is read, so that one reads for all
	barred map[string]bool
	read   time.Time // when the store was read last
	tried  time.Time
	err    error
}

const (
	barsEvery = 500 * time.Millisecond
	barsStale = 30 * time.Second
)

func (b *Bars) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// Barred implements [Bar].
func (b *Bars) Barred(ctx context.Context, workspace string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if b.barred == nil || now.Sub(b.tried) >= or(b.Every, barsEvery) {
		b.tried = now
		b.refresh(ctx, now)
	}
	if b.err != nil && (b.barred == nil || now.Sub(b.read) > or(b.Stale, barsStale)) {
		return true, b.err
	}
	return b.barred[workspace], nil
}

// Workspaces returns those that are barred, sorted.
func (b *Bars) Workspaces(ctx context.Context) ([]string, error) {
	if _, err := b.Barred(ctx, ""); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id, isBarred := range b.barred {
		if isBarred {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func or(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// refresh reads what the store has. The caller holds mu.
func (b *Bars) refresh(ctx context.Context, now time.Time) {
	found := map[string]bool{}
	for name, err := range b.Store.List(ctx, store.BarredWorkspaces()) {
		if err != nil {
			b.err = err
			return
		}
		if id, ok := name.BarredWorkspace(); ok {
			found[id] = true
		}
	}
	b.barred, b.read, b.err = found, now, nil
}

// Bar gives a workspace nothing from now on. It is in the store when Bar returns.
func (b *Bars) Bar(ctx context.Context, workspace string) error {
	name, err := store.Barred(workspace)
	if err == nil {
		err = b.Store.Put(ctx, name, store.NewSecret(b.now().UTC().Format(time.RFC3339)), store.Replace)
	}
	if err != nil {
		return err
	}
	return b.set(workspace, true)
}

// Admit takes a bar away.
func (b *Bars) Admit(ctx context.Context, workspace string) error {
	name, err := store.Barred(workspace)
	if err == nil {
		err = b.Store.Delete(ctx, name)
	}
	if err != nil {
		return err
	}
	return b.set(workspace, false)
}

func (b *Bars) set(workspace string, isBarred bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.barred != nil {
		b.barred[workspace] = isBarred
	}
	return nil
}

package storetest

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// Plain returns the store without its optional interfaces.
func Plain(s store.Store) store.Store { return struct{ store.Store }{s} }

// PutDue implements [store.Indexed].
func (m *Memory) PutDue(ctx context.Context, name store.Name, value store.Secret, mode store.Mode, due time.Time) error {
	if err := check(ctx, name, value); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, exists := m.folders[folder(name.String())][name]; exists && mode == store.CreateOnly {
		return &usererr.Error{Op: "write " + name.String(), Err: store.ErrExists}
	}
	m.write(name, value, due)
	return nil
}

// Swap implements [store.Swapper].
func (m *Memory) Swap(ctx context.Context, name store.Name, value store.Secret, version string, due time.Time) (string, error) {
	if err := check(ctx, name, value); err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	there, exists := m.folders[folder(name.String())][name]
	if exists != (version != "") || there.Version != version {
		return "", &usererr.Error{Op: "write " + name.String(), Err: store.ErrChanged}
	}
	return m.write(name, value, due), nil
}

// Due implements [store.Indexed].
func (m *Memory) Due(ctx context.Context, below store.Prefix, before time.Time, limit int) iter.Seq2[store.NamedEntry, error] {
	return func(yield func(store.NamedEntry, error) bool) {
		if ctx.Err() != nil {
			yield(store.NamedEntry{}, ctx.Err())
			return
		}
		for _, name := range m.dueNames(below, before, limit) {
			entry, err := m.Get(ctx, name)
			if !yield(store.NamedEntry{Name: name, Entry: entry}, err) {
				return
			}
		}
	}
}

func (m *Memory) dueNames(below store.Prefix, before time.Time, limit int) []store.Name {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var names []store.Name
	for name, due := range m.due {
		if below.Has(name) && due.Before(before) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b store.Name) int {
		return cmp.Or(m.due[a].Compare(m.due[b]), strings.Compare(a.String(), b.String()))
	})
	if limit > 0 {
		names = names[:min(limit, len(names))]
	}
	return names
}

// Page implements [store.Pager].
func (m *Memory) Page(ctx context.Context, below store.Prefix, after store.Name, limit int) ([]store.Name, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	names := m.names(below)
	first, found := slices.BinarySearchFunc(names, after, func(a, b store.Name) int { return strings.Compare(a.String(), b.String()) })
	if found {
		first++
	}
	return names[first:min(first+limit, len(names))], nil
}

// A watcher is one call of Watch.
type watcher struct {
	below  store.Prefix
	change chan struct{} // holds an element after a change
}

// Watch implements [store.Watcher].
func (m *Memory) Watch(ctx context.Context, below store.Prefix, changed func()) error {
	w := &watcher{below, make(chan struct{}, 1)}
	w.change <- struct{}{}
	m.mu.Lock()
	if m.watchers == nil {
		m.watchers = map[*watcher]bool{}
	}
	m.watchers[w] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.watchers, w)
		m.mu.Unlock()
	}()
	for {
		select {
		case <-w.change:
			changed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notify tells watchers of a change. The caller must hold the lock.
func (m *Memory) notify(name store.Name) {
	for w := range m.watchers {
		if !w.below.Has(name) {
			continue
		}
		select {
		case w.change <- struct{}{}:
		default:
		}
	}
}

package vaultstore

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/store"
)

// readers is the number of records that are read at the same time.
const readers = 20

// Records implements [store.Ledger]. It lists one folder and reads the records, several
// at a time.
func (s *Store) Records(ctx context.Context) iter.Seq2[store.NamedEntry, error] {
	return func(yield func(store.NamedEntry, error) bool) {
		ids, err := s.keys(ctx, store.Workspaces().String())
		if err != nil {
			yield(store.NamedEntry{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		found := s.readAll(ctx, recordsOf(ids))
		defer func() {
			cancel()
			for range found { // until all readers have ended
			}
		}()
		for r := range found {
			if errors.Is(r.err, store.ErrNotFound) {
				continue
			}
			if r.err != nil && !errors.Is(r.err, store.ErrDamaged) {
				yield(store.NamedEntry{}, r.err)
				return
			}
			if !yield(r.NamedEntry, r.err) {
				return
			}
		}
	}
}

// recordsOf returns the names of the records in folders. It skips folders with other
// names.
func recordsOf(folders []string) (names []store.Name) {
	for _, id := range folders {
		if name, err := store.Record(strings.TrimSuffix(id, "/")); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// A result is the outcome of reading one entry.
type result struct {
	store.NamedEntry
	err error
}

// readAll reads the entries in no particular order. It closes the channel when all are
// read, or when ctx has ended and all readers have.
func (s *Store) readAll(ctx context.Context, names []store.Name) <-chan result {
	queue, found := make(chan store.Name), make(chan result)
	var reading sync.WaitGroup
	for range min(readers, len(names)) {
		reading.Go(func() {
			for name := range queue {
				entry, err := s.Get(ctx, name)
				found <- result{store.NamedEntry{Name: name, Entry: entry}, err}
			}
		})
	}
	go func() {
		defer close(found)
		for _, name := range names {
			select {
			case queue <- name:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				break
			}
		}
		close(queue)
		reading.Wait()
	}()
	return found
}

package storetest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// Memory is a store in memory, for tests that need thousands of entries or their own
// clock. It passes Run, and implements every optional interface; [Plain] removes those.
// The zero Memory is empty.
type Memory struct {
	Now func() time.Time // nil means time.Now

	mu       sync.RWMutex                          // guards the rest
	folders  map[string]map[store.Name]store.Entry // by the first two segments, so that a workspace is one folder
	due      map[store.Name]time.Time
	written  int // number of writes, which makes versions
	watchers map[*watcher]bool
}

// folder returns the first two segments of a name or prefix.
func folder(path string) string {
	parts := strings.SplitN(path, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// Get implements [store.Store].
func (m *Memory) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	entry, ok := m.folders[folder(name.String())][name]
	switch {
	case ctx.Err() != nil:
		return store.Entry{}, ctx.Err()
	case name.IsZero():
		return store.Entry{}, usererr.New("read", "it has no name", "")
	case !ok:
		return store.Entry{}, &usererr.Error{Op: "read " + name.String(), Err: store.ErrNotFound}
	case entry.Value.Reveal() == "":
		return store.Entry{}, damage("read " + name.String())
	}
	return entry, nil
}

// Put implements [store.Store].
func (m *Memory) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	return m.PutDue(ctx, name, value, mode, time.Time{})
}

// check returns an error for an entry that no store writes.
func check(ctx context.Context, name store.Name, value store.Secret) error {
	what := "write " + name.String()
	if err := value.Check(); err != nil {
		return usererr.Wrap(what, err, "")
	}
	if name.IsZero() {
		return usererr.New(what, "it has no name", "")
	}
	return ctx.Err()
}

// write returns the new version. The caller must hold the lock.
func (m *Memory) write(name store.Name, value store.Secret, due time.Time) (version string) {
	if m.folders == nil {
		m.folders, m.due = map[string]map[store.Name]store.Entry{}, map[store.Name]time.Time{}
	}
	in := m.folders[folder(name.String())]
	if in == nil {
		in = map[store.Name]store.Entry{}
		m.folders[folder(name.String())] = in
	}
	m.written++
	version = strconv.Itoa(m.written)
	in[name] = store.Entry{Value: value, Modified: m.now(), Version: version}
	delete(m.due, name)
	if !due.IsZero() {
		m.due[name] = due
	}
	m.notify(name)
	return version
}

func (m *Memory) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}

// Delete implements [store.Store].
func (m *Memory) Delete(ctx context.Context, name store.Name) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if name.IsZero() {
		return usererr.New("delete", "it has no name", "")
	}
	in := m.folders[folder(name.String())]
	if delete(in, name); len(in) == 0 {
		delete(m.folders, folder(name.String()))
	}
	delete(m.due, name)
	m.notify(name)
	return nil
}

// List implements [store.Store].
func (m *Memory) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		for _, name := range m.names(below) {
			if ctx.Err() != nil {
				yield(store.Name{}, ctx.Err())
				return
			}
			if !yield(name, nil) {
				return
			}
		}
	}
}

// names returns the names below a prefix, in order.
func (m *Memory) names(below store.Prefix) []store.Name {
	m.mu.RLock()
	defer m.mu.RUnlock()
	folders := slices.Collect(maps.Keys(m.folders))
	if strings.Contains(below.String(), "/") {
		folders = []string{folder(below.String())}
	}
	var names []store.Name
	for _, f := range folders {
		for name := range m.folders[f] {
			if below.Has(name) {
				names = append(names, name)
			}
		}
	}
	slices.SortFunc(names, func(a, b store.Name) int { return strings.Compare(a.String(), b.String()) })
	return names
}

// Package intern shares one copy of names, lists and maps that thousands of objects have
// in common. Callers must not change what it returns.
package intern

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"unique"
)

// String returns the shared copy of a text.
func String(text string) string { return unique.Make(text).Value() }

// maxValues is how many values a pool holds. A cluster with more different values gains
// nothing from sharing them.
const maxValues = 1000

// A pool holds one copy of each value. When it is full, it forgets all of them.
type pool[T any] struct {
	mu  sync.Mutex // guards all
	all map[string]T
}

// intern returns the shared copy for key; if there is none, value becomes it.
func (p *pool[T]) intern(key string, value T) T {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kept, ok := p.all[key]; ok {
		return kept
	}
	if p.all == nil || len(p.all) >= maxValues {
		p.all = map[string]T{}
	}
	p.all[key] = value
	return value
}

var texts pool[[]string]

// Strings returns the shared copy of a list. The order counts.
func Strings(list []string) []string {
	if len(list) == 0 {
		return list
	}
	return texts.intern(strings.Join(list, "\x00"), slices.Clip(list))
}

// Maps shares maps. The zero value is ready to use.
type Maps[V ~string] struct{ pool[map[string]V] }

// Intern returns the shared copy of m.
func (p *Maps[V]) Intern(m map[string]V) map[string]V {
	if len(m) == 0 {
		return m
	}
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		key.WriteString(name + "\x00" + string(m[name]) + "\x00")
	}
	return p.intern(key.String(), m)
}

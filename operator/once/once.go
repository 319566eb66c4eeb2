// Package once shares one copy of names, lists and maps that thousands of objects have
// in common. Callers must not change what it returns.
package once

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"unique"
)

// Text returns the shared copy of a text.
func Text(text string) string { return unique.Make(text).Value() }

// most is how many values a pool holds. A cluster with more different values gains
// nothing from sharing them.
const most = 1000

// A pool holds one copy of each value. When it is full, it forgets all of them.
type pool[T any] struct {
	mu  sync.Mutex // guards all
	all map[string]T
}

// one returns the shared copy for key; if there is none, value becomes it.
func (p *pool[T]) one(key string, value T) T {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kept, ok := p.all[key]; ok {
		return kept
	}
	if p.all == nil || len(p.all) >= most {
		p.all = map[string]T{}
	}
	p.all[key] = value
	return value
}

var texts pool[[]string]

// Texts returns the shared copy of a list. The order counts.
func Texts(list []string) []string {
	if len(list) == 0 {
		return list
	}
	return texts.one(strings.Join(list, "\x00"), slices.Clip(list))
}

// Maps shares maps. The zero value is ready to use.
type Maps[V ~string] struct{ pool[map[string]V] }

// One returns the shared copy of m.
func (p *Maps[V]) One(m map[string]V) map[string]V {
	if len(m) == 0 {
		return m
	}
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		key.WriteString(name + "\x00" + string(m[name]) + "\x00")
	}
	return p.one(key.String(), m)
}

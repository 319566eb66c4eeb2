// Package once keeps one copy of what thousands of objects have alike: names, lists and
// maps. What it returns is shared, and must not be changed.
package once

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"unique"
)

// Text returns the one copy of a text.
func Text(text string) string { return unique.Make(text).Value() }

// most is how many values a pool keeps. A cluster where more of them differ gains
// nothing from sharing them.
const most = 1000

// A pool has one copy of each value. It forgets all of them when there are too many.
type pool[T any] struct {
	mu  sync.Mutex // guards all
	all map[string]T
}

// one returns the copy that is kept under key. If there is none, value becomes the copy.
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

// Texts returns the one copy of a list, in its order.
func Texts(list []string) []string {
	if len(list) == 0 {
		return list
	}
	return texts.one(strings.Join(list, "\x00"), slices.Clip(list))
}

// Maps has one copy of each map. The zero value is ready to use.
type Maps[V ~string] struct{ pool[map[string]V] }

// One returns the copy of m.
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

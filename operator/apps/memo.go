package apps

import (
	"maps"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

// mostAnswers bounds a memo, whose questions tenants choose. A full one forgets what has
// no value, and everything where that is not enough.
const mostAnswers = 4096

// A memo remembers answers, each for a while, and has each question asked once at a
// time. The zero memo is empty.
type memo[K comparable, V any] struct {
	mu      sync.Mutex // guards answers
	answers map[K]*answer[V]
}

// An answer is a value or an error.
type answer[V any] struct {
	mu    sync.Mutex // guards the rest; held while it is asked for
	value V
	err   error
	at    time.Time // when it was given; zero is never
	life  time.Duration

	isKnown bool // there was a value once
}

// get returns what is remembered, and otherwise what ask says, with how long to
// remember that. ask is told whether there was a value before.
func (m *memo[K, V]) get(key K, now time.Time, ask func(isKnown bool) (V, time.Duration, error)) (V, error) {
	a := m.of(key)
	a.mu.Lock()
	defer a.mu.Unlock()
	if age := clock.Since(a.at, now); a.at.IsZero() || age < 0 || age >= a.life {
		a.value, a.life, a.err = ask(a.isKnown)
		a.at, a.isKnown = now, a.isKnown || a.err == nil
	}
	return a.value, a.err
}

func (m *memo[K, V]) of(key K) *answer[V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil {
		m.answers = map[K]*answer[V]{}
	}
	if m.answers[key] == nil && len(m.answers) >= mostAnswers {
		m.shrink()
	}
	if m.answers[key] == nil {
		m.answers[key] = &answer[V]{}
	}
	return m.answers[key]
}

func (m *memo[K, V]) forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.answers, key)
}

// shrink makes room. Those that are asked for right now count as values.
func (m *memo[K, V]) shrink() {
	maps.DeleteFunc(m.answers, func(_ K, a *answer[V]) bool {
		if !a.mu.TryLock() {
			return false
		}
		defer a.mu.Unlock()
		return !a.isKnown
	})
	if len(m.answers) >= mostAnswers {
		clear(m.answers)
	}
}

// A budget allows something so many times in a minute.
type budget struct {
	most int

	mu   sync.Mutex  // guards used
	used []time.Time // in the last minute, the oldest first
}

// spend reports whether n more are allowed, and otherwise when some are.
func (b *budget) spend(n int, now time.Time) (ok bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.used) > 0 && clock.Since(b.used[0], now) >= time.Minute {
		b.used = b.used[1:]
	}
	if len(b.used)+n > b.most {
		return false, max(clock.Left(b.used[0].Add(time.Minute), now), time.Second)
	}
	for range n {
		b.used = append(b.used, now)
	}
	return true, 0
}

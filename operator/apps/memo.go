package apps

import (
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

// mostAnswers bounds a memo, whose questions tenants choose. A full one is emptied.
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
}

// get returns what is remembered, and otherwise what ask says, with how long to
// remember that.
func (m *memo[K, V]) get(key K, now time.Time, ask func() (V, time.Duration, error)) (V, error) {
	a := m.of(key)
	a.mu.Lock()
	defer a.mu.Unlock()
	if age := clock.Since(a.at, now); a.at.IsZero() || age < 0 || age >= a.life {
		a.value, a.life, a.err = ask()
		a.at = now
	}
	return a.value, a.err
}

func (m *memo[K, V]) of(key K) *answer[V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil || len(m.answers) >= mostAnswers {
		m.answers = map[K]*answer[V]{}
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

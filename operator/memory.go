package operator

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/operator/plan"
)

// A memory is what a process remembers of one object between two reconciles. It spares
// requests; without it everything is found out again.
type memory struct {
	// The Secret as it was last read or written: its resourceVersion, what was wanted
	// of it then, and what it was found to be.
	version string
	want    mark
	found   plan.Secret

	basis  mark // what failures depend on: spec, App, policies, namespace
	failed map[plan.Action]failure
	fight  fight
	scope  string // digest of the latest scope; for when the App is missing
}

type failure struct {
	plan.Refusal
	times int
}

// memories has one for each object. A reconcile has its own object's alone: the queue
// never gives one object to two workers.
type memories struct {
	mu  sync.Mutex // guards all
	all map[types.UID]*memory
}

func (m *memories) of(uid types.UID) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[types.UID]*memory{}
	}
	if m.all[uid] == nil {
		m.all[uid] = &memory{}
	}
	return m.all[uid]
}

func (m *memories) forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, uid)
}

// rest forgets failures when what they depend on has changed.
func (m *memory) rest(basis mark) {
	if m.basis != basis {
		m.basis = basis
		clear(m.failed)
	}
}

func (m *memory) refusals() map[plan.Action]plan.Refusal {
	all := make(map[plan.Action]plan.Refusal, len(m.failed))
	for do, f := range maps.All(m.failed) {
		all[do] = f.Refusal
	}
	return all
}

// firstRetry is how long the operator waits after an error that may pass quickly. The
// wait doubles until it is the retry interval.
const firstRetry = 5 * time.Second

// fail notes a failure. Where quick is set, the first attempts follow sooner than the
// retry interval.
func (m *memory) fail(do plan.Action, r plan.Refusal, now time.Time, retry, atLeast time.Duration, quick bool) {
	f := m.failed[do]
	f.times++
	wait := retry
	if quick {
		wait = min(retry, firstRetry<<min(f.times-1, 10))
	}
	r.Until = now.Add(max(wait, atLeast))
	f.Refusal = r
	if m.failed == nil {
		m.failed = map[plan.Action]failure{}
	}
	m.failed[do] = f
}

func (m *memory) succeed(do plan.Action) { delete(m.failed, do) }

// A fight counts how often a Secret was mended.
type fight struct {
	since, latest time.Time
	times         int
}

// Another writer who changes a Secret is answered at once, so many times a minute, and
// then more slowly: two programs must not write against each other at full speed.
const (
	mendsAMinute = 20
	slowMend     = 5 * time.Second
)

// isFought counts one more mend, and reports that it has to wait.
func (m *memory) isFought(now time.Time) bool {
	if now.Sub(m.fight.since) > time.Minute {
		m.fight = fight{since: now}
	}
	if m.fight.times >= mendsAMinute && now.Sub(m.fight.latest) < slowMend {
		return true
	}
	m.fight.times++
	m.fight.latest = now
	return false
}

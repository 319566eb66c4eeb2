package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// hangs is after how many intervals a pass counts as one that never ends.
const hangs = 3

// A monitor is what can be asked about the passes while they go on. A nil
// monitor takes no notes.
type monitor struct {
	interval time.Duration
	now      func() time.Time // nil means time.Now
	started  time.Time

	mu       sync.Mutex // guards the rest
	begun    time.Time  // of the pass that runs; zero while none does
	passes   map[string]int
	last     report        // of the last pass that could read the ledger
	took     time.Duration // all passes together
	err      error         // why the last pass failed as a whole
	hasEnded bool          // a pass has ended
	healthy  time.Time     // when the last pass ended that did not fail
	minted   int
	revoked  int
	lost     int
	failed   map[string]int // by reason
	rate     mint.Rate
	isRated  bool
	clock    string        // how far this machine's clock is off; "" where it is right
	ahead    time.Duration // of GitHub's clock
}

// The results of passes.
const (
	passOK      = "ok"
	passPartial = "partial" // single workspaces failed
	passFailed  = "failed"
)

var results = []string{passOK, passPartial, passFailed}

func newMonitor(interval time.Duration) *monitor {
	m := &monitor{interval: interval, passes: map[string]int{}, failed: map[string]int{}}
	m.started = m.time()
	m.healthy = m.started
	return m
}

func (m *monitor) time() time.Time {
	if m.now == nil {
		return time.Now()
	}
	return m.now()
}

func (m *monitor) begin(now time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun = now
}

func (m *monitor) event(e workspace.Event) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Type {
	case workspace.Generated:
		m.minted++
	case workspace.Ended:
		m.revoked++
	case workspace.Lost:
		m.lost++
	case workspace.Failed:
		m.failed[reason(e.Err)]++
	}
}

// end takes note of a pass. app may be nil.
func (m *monitor) end(made report, app *mint.App, err error) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	result := passOK
	switch {
	case err != nil:
		result = passFailed
	case made.Failed > 0:
		result = passPartial
	}
	m.passes[result]++
	m.took += m.time().Sub(m.begun)
	m.begun, m.err, m.hasEnded = time.Time{}, err, true
	if err == nil {
		m.healthy = m.time()
	}
	if err == nil || made.Workspaces > 0 {
		m.last = made
	}
	if app == nil {
		return
	}
	m.ahead, _ = app.Ahead()
	m.clock = app.ClockProblem()
	if rate, ok := app.Rate(); ok {
		m.rate, m.isRated = rate, true
	}
}

// alive returns an error for a pass that does not end.
func (m *monitor) alive() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun.IsZero() {
		return nil
	}
	if since := m.time().Sub(m.begun); since > hangs*m.interval {
		return fmt.Errorf("a pass has been running for %s", since.Round(time.Second))
	}
	return nil
}

var errFirst = errors.New("the first pass has not ended yet")

// ready returns why tokens are not being refreshed, and a note for people where they
// are.
func (m *monitor) ready() (note string, why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.hasEnded {
		return "", errFirst
	}
	return m.clock, m.err
}

// reasons are why GitHub made no token, as labels.
var reasons = map[mint.Kind]string{
	mint.Refused: "refused", mint.BadKey: "bad_key", mint.Skewed: "clock", mint.Suspended: "suspended",
	mint.NotInstalled: "not_installed", mint.NotGranted: "not_granted", mint.RateLimited: "rate_limited",
	mint.Unavailable: "unavailable", mint.Renamed: "renamed", mint.Replaced: "replaced", mint.Unsigned: "unsigned",
	mint.BadToken:  "bad_token",
	mint.NotListed: "not_listed",
}

const (
	reasonWider = "wider"
	reasonOther = "other"
)

func reason(err error) string {
	if errors.Is(err, mint.ErrWider) {
		return reasonWider
	}
	if refused, ok := errors.AsType[*mint.Error](err); ok {
		return reasons[refused.Kind]
	}
	return reasonOther
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/exposition"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// hangs is the number of intervals after which a round counts as stuck.
const hangs = 3

// A monitor answers questions about the rounds while they go on. A nil monitor records
// nothing.
type monitor struct {
	interval time.Duration
	now      func() time.Time // nil means time.Now
	metrics  *metrics

	mu       sync.Mutex // guards the rest
	begun    time.Time  // when the current round started; zero if none is running
	err      error      // why the last round failed as a whole
	hasEnded bool       // at least one round has ended
	clock    string     // how far this machine's clock is off; "" if it is right
}

// The results of rounds.
const (
	roundOK      = "ok"
	roundPartial = "partial" // single workspaces failed
	roundFailed  = "failed"
)

func newMonitor(interval time.Duration) *monitor {
	return &monitor{interval: interval, metrics: newMetrics(interval, time.Now())}
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
	switch e.Type {
	case workspace.Generated:
		m.metrics.minted.Inc()
	case workspace.Ended:
		m.metrics.revoked.Inc()
	case workspace.Lost:
		m.metrics.lost.Inc()
	case workspace.Failed:
		m.metrics.failures.WithLabelValues(reason(e.Err)).Inc()
	}
}

// end records the result of a round. app may be nil.
func (m *monitor) end(made report, app *mint.App, err error) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	result := roundOK
	switch {
	case err != nil:
		result = roundFailed
	case made.Failed > 0:
		result = roundPartial
	}
	m.metrics.ended(result, m.time().Sub(m.begun))
	m.begun, m.err, m.hasEnded = time.Time{}, err, true
	if err == nil {
		m.metrics.succeeded.Set(exposition.Seconds(m.time()))
	}
	if err == nil || made.Workspaces > 0 { // the ledger was read
		m.metrics.report(made)
	}
	m.metrics.appsAre(made.apps)
	if app == nil {
		return
	}
	m.clock = app.ClockProblem()
	ahead, _ := app.Ahead()
	m.metrics.ahead.Set(ahead.Seconds())
	if rate, ok := app.Rate(); ok {
		m.metrics.rated(rate)
	}
}

// alive returns an error if a round does not end.
func (m *monitor) alive() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun.IsZero() {
		return nil
	}
	if since := m.time().Sub(m.begun); since > hangs*m.interval {
		return fmt.Errorf("a round has been running for %s", since.Round(time.Second))
	}
	return nil
}

var errFirst = errors.New("the first round has not ended yet")

// ready returns an error if tokens are not being refreshed, and otherwise a note for
// people.
func (m *monitor) ready() (note string, why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.hasEnded {
		return "", errFirst
	}
	return m.clock, m.err
}

// reasons are the labels for why GitHub minted no token.
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

// handler serves health checks and metrics. It shows counts and reasons, and no data of
// a workspace.
func (m *monitor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "", m.alive()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		note, why := m.ready()
		answer(w, note, why)
	})
	mux.Handle("GET /metrics", exposition.Handler(m.metrics.registry))
	return mux
}

func answer(w http.ResponseWriter, note string, why error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	text := "ok"
	if note != "" {
		text += ": " + note
	}
	if why != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = usererr.Escape(why.Error())
	}
	_, _ = io.WriteString(w, text+"\n")
}

// serve answers at address until stop is called.
func (m *monitor) serve(ctx context.Context, address string) (stop func(), err error) {
	return exposition.Listen(ctx, address, m.handler(), "name another address with --listen, or none")
}

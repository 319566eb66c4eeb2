package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker/probe"
	"github.com/gatepass/gatepass/internal/exposition"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/urfave/cli/v2"
)

// showProbe prints results, all together.
func (w *world) showProbe(results []probe.Result, asJSON bool) error {
	if asJSON {
		return writeJSON(w.stdout, results)
	}
	t := newTable("RESULT", "CASE", "DETAIL")
	for _, r := range results {
		t.row(stateText(r.State), r.Case, r.Detail)
	}
	_, err := io.WriteString(w.stdout, t.String())
	return err
}

func stateText(s probe.State) string {
	if s == probe.Violated {
		return "VIOLATED"
	}
	return string(s)
}

// A vigil is what was found out last.
type vigil struct {
	mu   sync.Mutex // guards the rest
	last []probe.Result
	at   time.Time
}

// probeAgain goes on until its context ends, and prints what changes.
func (w *world) probeAgain(c *cli.Context, p *probe.Prober, cases []probe.Case) error {
	v := new(vigil)
	stop, err := v.serve(c.Context, c.String("listen"))
	if err != nil {
		return err
	}
	defer stop()
	tick := time.NewTicker(c.Duration("every"))
	defer tick.Stop()
	for {
		results := p.Run(c.Context, cases)
		if c.Context.Err() != nil {
			return nil
		}
		if err := w.sayChanges(v.take(results), c.Bool("json")); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-c.Context.Done():
			return nil
		}
	}
}

// take keeps results, and returns those that are not as before.
func (v *vigil) take(results []probe.Result) []probe.Result {
	v.mu.Lock()
	defer v.mu.Unlock()
	var changed []probe.Result
	for i, r := range results {
		if v.last == nil || v.last[i].State != r.State {
			changed = append(changed, r)
		}
	}
	v.last, v.at = results, time.Now()
	return changed
}

// sayChanges prints a line each.
func (w *world) sayChanges(changed []probe.Result, asJSON bool) error {
	for _, r := range changed {
		if asJSON {
			if err := writeJSON(w.stdout, r); err != nil {
				return err
			}
			continue
		}
		line := time.Now().UTC().Format(time.RFC3339) + " " + stateText(r.State) + ": " + r.Case
		if r.Detail != "" {
			line += ": " + r.Detail
		}
		if _, err := fmt.Fprintln(w.stdout, oneline.Escape(line)); err != nil {
			return err
		}
	}
	return nil
}

// serve shows metrics at an address, "" for nowhere, until stop is called.
func (v *vigil) serve(ctx context.Context, address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(rw http.ResponseWriter, _ *http.Request) { v.page().Serve(rw) })
	return exposition.Listen(ctx, address, mux, "name another address with --listen")
}

// page is what Prometheus reads. There are no cases on it before the first round.
func (v *vigil) page() *exposition.Page {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := new(exposition.Page)
	for _, m := range []struct {
		name, help string
		value      func(probe.Result) float64
	}{
		{"gatepass_probe_passed", "Whether the broker did as it should: 1 or 0.", is(probe.Passed)},
		{"gatepass_probe_violated", "Whether the broker gave what it should not: 1 or 0.", is(probe.Violated)},
		{"gatepass_probe_duration_seconds", "How long the case took.", func(r probe.Result) float64 { return r.Took.Seconds() }},
	} {
		p.Metric(m.name, "gauge", m.help)
		for _, r := range v.last {
			p.Sample(m.name, "case", r.Case, m.value(r))
		}
	}
	if !v.at.IsZero() {
		p.Single("gatepass_probe_last_round_timestamp_seconds", "gauge", "When the last round ended.", exposition.Seconds(v.at))
	}
	p.Build()
	return p
}

func is(state probe.State) func(probe.Result) float64 {
	return func(r probe.Result) float64 {
		if r.State == state {
			return 1
		}
		return 0
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/urfave/cli/v2"

	"github.com/gatepass/gatepass/broker/probe"
	"github.com/gatepass/gatepass/internal/exposition"
	"github.com/gatepass/gatepass/internal/usererr"
)

// showProbe prints results, all together.
func (w *app) showProbe(results []probe.Result, asJSON bool) error {
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

// A watcher has the latest results and serves them as metrics.
type watcher struct {
	last    []probe.Result
	metrics *prometheus.Registry
	// By case; there are none before the first round. ended has no label.
	passed, violated, took, ended *prometheus.GaugeVec
}

func newWatcher() *watcher {
	v := &watcher{metrics: exposition.New()}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return promauto.With(v.metrics).NewGaugeVec(prometheus.GaugeOpts{Namespace: "gatepass_probe", Name: name, Help: help}, labels)
	}
	v.passed = gauges("passed", "Whether the broker did as it should: 1 or 0.", "case")
	v.violated = gauges("violated", "Whether the broker gave what it should not: 1 or 0.", "case")
	v.took = gauges("duration_seconds", "How long the case took.", "case")
	v.ended = gauges("last_round_timestamp_seconds", "When the last round ended.")
	return v
}

// probeAgain goes on until its context ends, and prints what changes.
func (w *app) probeAgain(c *cli.Context, p *probe.Prober, cases []probe.Case) error {
	v := newWatcher()
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
func (v *watcher) take(results []probe.Result) []probe.Result {
	var changed []probe.Result
	for i, r := range results {
		if v.last == nil || v.last[i].State != r.State {
			changed = append(changed, r)
		}
	}
	v.last = results
	v.show(results)
	return changed
}

// show sets the metrics. A page of them is looked at with curl, so names are escaped.
func (v *watcher) show(results []probe.Result) {
	for _, r := range results {
		name := usererr.Escape(r.Case)
		v.passed.WithLabelValues(name).Set(is(r.State == probe.Passed))
		v.violated.WithLabelValues(name).Set(is(r.State == probe.Violated))
		v.took.WithLabelValues(name).Set(r.Took.Seconds())
	}
	v.ended.WithLabelValues().Set(exposition.Seconds(time.Now()))
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// sayChanges prints a line each.
func (w *app) sayChanges(changed []probe.Result, asJSON bool) error {
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
		if _, err := fmt.Fprintln(w.stdout, usererr.Escape(line)); err != nil {
			return err
		}
	}
	return nil
}

// serve shows metrics at an address, "" for nowhere, until stop is called.
func (v *watcher) serve(ctx context.Context, address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", exposition.Handler(v.metrics))
	return exposition.Listen(ctx, address, mux, "name another address with --listen")
}

package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/version"
)

// A page is written in Prometheus's text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/). The dozen
// numbers here do not need its client library, of which the Lambda function would
// carry all and use nothing.
type page struct{ bytes.Buffer }

// metric writes a metric's head; its samples follow.
func (p *page) metric(name, kind, help string) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// single writes a metric of one sample.
func (p *page) single(name, kind, help string, value float64) {
	p.metric(name, kind, help)
	p.sample(name, "", "", value)
}

// sample writes one line, with a label unless it is "".
func (p *page) sample(name, label, of string, value float64) {
	if label != "" {
		name += "{" + label + "=" + quoted(of) + "}"
	}
	fmt.Fprintf(p, "%s %s\n", name, strconv.FormatFloat(value, 'f', -1, 64))
}

// byLabel writes a metric with a sample for each of the label's values.
func (p *page) byLabel(name, kind, help, label string, values []string, of map[string]int) {
	p.metric(name, kind, help)
	for _, value := range values {
		p.sample(name, label, value, float64(of[value]))
	}
}

func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

// seconds is Unix time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// write writes all metrics. No label has a value for each workspace: there may be
// thousands, and the log names them.
func (m *monitor) write(w io.Writer) error {
	var p page
	m.mu.Lock()
	m.writePasses(&p)
	m.writeTokens(&p)
	m.mu.Unlock()
	p.metric("gatepass_build_info", "gauge", "Which gatepass this is.")
	fmt.Fprintf(&p, "gatepass_build_info{version=%s,goversion=%s} 1\n", quoted(version.String()), quoted(runtime.Version()))
	_, err := w.Write(p.Bytes())
	return err
}

func (m *monitor) writePasses(p *page) {
	p.byLabel("gatepass_refresher_passes_total", "counter",
		"Passes by result: ok, partial (single workspaces failed), failed (as a whole).", "result", results, m.passes)
	const took = "gatepass_refresher_pass_duration_seconds"
	p.metric(took, "summary", "How long passes took.")
	p.sample(took+"_sum", "", "", m.took.Seconds())
	p.sample(took+"_count", "", "", float64(m.passes[passOK]+m.passes[passPartial]+m.passes[passFailed]))
	p.byLabel("gatepass_refresher_workspaces", "gauge", "Workspaces in the last pass by what became of them; known and expired are counted beside the others.",
		"state", []string{"known", "due", "refreshed", "failed", "busy", "deferred", "expired"}, map[string]int{
			"known": m.last.Workspaces, "due": m.last.Due, "refreshed": m.last.Refreshed, "failed": m.last.Failed,
			"busy": m.last.Busy, "deferred": m.last.Deferred, "expired": m.last.Expired,
		})
	p.single("gatepass_refresher_interval_seconds", "gauge", "How often a pass is made.", m.interval.Seconds())
	p.single("gatepass_refresher_last_success_timestamp_seconds", "gauge",
		"When the last pass ended that did not fail as a whole; before the first one, when the program started.", seconds(m.healthy))
}

func (m *monitor) writeTokens(p *page) {
	p.single("gatepass_tokens_minted_total", "counter", "Tokens that GitHub made.", float64(m.minted))
	p.single("gatepass_tokens_revoked_total", "counter", "Tokens that were revoked.", float64(m.revoked))
	p.single("gatepass_tokens_lost_total", "counter", "Tokens that may live until their hour is over and that nobody has.", float64(m.lost))
	p.byLabel("gatepass_token_failures_total", "counter", "Tokens that could not be made, by reason.", "reason",
		append(slices.Sorted(maps.Values(reasons)), reasonOther, reasonWider), m.failed)
	if m.last.Soonest != nil {
		p.single("gatepass_token_soonest_expiry_timestamp_seconds", "gauge", "When the first of all delivered tokens ends.", seconds(*m.last.Soonest))
	}
	if m.isRated {
		p.single("gatepass_github_rate_limit_remaining", "gauge", "Requests that GitHub still takes from the App in this hour.", float64(m.rate.Remaining))
		p.single("gatepass_github_rate_limit", "gauge", "Requests that GitHub takes from the App in an hour.", float64(m.rate.Limit))
	}
}

// Package exposition writes a page of metrics in Prometheus's text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/), for programs
// that have a dozen numbers to show and would carry all of the client library for
// them.
package exposition

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/version"
)

// A Page is what Prometheus reads.
type Page struct{ bytes.Buffer }

// Metric writes a metric's head; its samples follow.
func (p *Page) Metric(name, kind, help string) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// Single writes a metric of one sample.
func (p *Page) Single(name, kind, help string, value float64) {
	p.Metric(name, kind, help)
	p.Sample(name, "", "", value)
}

// Sample writes one line, with a label unless it is "".
func (p *Page) Sample(name, label, of string, value float64) {
	if label != "" {
		name += "{" + label + "=" + quoted(of) + "}"
	}
	fmt.Fprintf(p, "%s %s\n", name, strconv.FormatFloat(value, 'f', -1, 64))
}

// ByLabel writes a metric with a sample for each of the label's values.
func (p *Page) ByLabel(name, kind, help, label string, values []string, of map[string]int) {
	p.Metric(name, kind, help)
	for _, value := range values {
		p.Sample(name, label, value, float64(of[value]))
	}
}

// Build writes which gatepass this is.
func (p *Page) Build() {
	p.Metric("gatepass_build_info", "gauge", "Which gatepass this is.")
	fmt.Fprintf(p, "gatepass_build_info{version=%s,goversion=%s} 1\n", quoted(version.String()), quoted(runtime.Version()))
}

// Serve answers with the page.
func (p *Page) Serve(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(p.Bytes()) // who asked has gone
}

// quoted is a label's value. What is not printable is escaped as in messages, but for
// line breaks, which the format has a way to write.
func quoted(value string) string {
	lines := strings.Split(strings.ToValidUTF8(value, "\uFFFD"), "\n")
	for i, line := range lines {
		lines[i] = oneline.Escape(line)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.Join(lines, "\n")) + `"`
}

// Seconds is Unix time as Prometheus has it.
func Seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Verdicts of a row. A row without a target has none.
const (
	kept    = "ok"
	missed  = "MISSED"
	missing = "missing" // something that the measurement needs is missing
)

// A row is one measured promise, or a figure that helps to read one.
type row struct {
	Promise  string  `json:"promise"`
	Ours     figure  `json:"gatepass"`
	PeerName string  `json:"peer_name,omitempty"`
	Peer     figure  `json:"peer,omitzero"`
	Ratio    float64 `json:"ratio,omitempty"` // ratio of ours to the peer's, lowest times
	Target   *target `json:"target,omitempty"`
	Verdict  string  `json:"verdict,omitempty"`
	Note     string  `json:"note,omitempty"`
}

// beside adds the peer's figure from the same run.
func (r row) beside(name string, peer figure) row {
	r.PeerName, r.Peer = name, peer
	if peer.Value > 0 {
		r.Ratio = r.Ours.Value / peer.Value
	}
	return r
}

// judged compares the row with its target.
func (r row) judged(t target) row {
	r.Target, r.Verdict = &t, missed
	if x := r.score(); x < 1 || x == 1 && !t.Below {
		r.Verdict = kept
	}
	return r
}

// score returns which part of the target is used; up to 1 meets it.
func (r row) score() float64 {
	if r.Target == nil {
		return 0
	}
	if r.Target.OfRatio {
		return r.Ratio / r.Target.Limit
	}
	if r.Ours.Value == r.Target.Limit {
		return 1 // also for a limit of 0
	}
	return r.Ours.Value / r.Target.Limit
}

// late reports whether the row missed a target of time.
func (r row) late() bool { return r.Verdict == missed && r.Ours.Unit == unitMS }

// A figure is one number with its unit. For times, Value is the lowest, and Median is
// set.
type figure struct {
	Value  float64 `json:"value"`
	Median float64 `json:"median,omitempty"`
	Unit   string  `json:"unit"`
}

const (
	unitMS       = "ms"
	unitMB       = "MB" // a million bytes
	unitMiB      = "MiB"
	unitCalls    = "calls"
	unitRequests = "requests"
)

func milliseconds(lowest, median time.Duration) figure {
	return figure{Value: inMS(lowest), Median: inMS(median), Unit: unitMS}
}

func inMS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func megabytes(bytes int64) figure { return figure{Value: float64(bytes) / 1e6, Unit: unitMB} }

func mebibytes(bytes int64) figure { return figure{Value: float64(bytes) / (1 << 20), Unit: unitMiB} }

func count(n int, unit string) figure { return figure{Value: float64(n), Unit: unit} }

func (f figure) String() string {
	switch {
	case f.Unit == "":
		return ""
	case f.Median != 0:
		return fmt.Sprintf("%.2f %s (%.2f)", f.Value, f.Unit, f.Median)
	case f.Value == 1 && f.counts():
		return "1 " + strings.TrimSuffix(f.Unit, "s")
	case f.counts():
		return fmt.Sprintf("%.0f %s", f.Value, f.Unit)
	}
	return fmt.Sprintf("%.2f %s", f.Value, f.Unit)
}

func (f figure) counts() bool { return f.Unit == unitCalls || f.Unit == unitRequests }

// A target is the most a promise allows.
type target struct {
	Limit   float64 `json:"limit"`
	OfRatio bool    `json:"of_ratio,omitempty"` // of the ratio to the peer; otherwise of our figure
	Below   bool    `json:"below,omitempty"`    // the limit itself is a miss
}

func atMost(limit float64) target      { return target{Limit: limit} }
func under(limit float64) target       { return target{Limit: limit, Below: true} }
func ratioAtMost(limit float64) target { return target{Limit: limit, OfRatio: true} }
func fewerThanPeer() target            { return target{Limit: 1, OfRatio: true, Below: true} }
func (t target) text(unit string) string {
	sign := "≤ "
	if t.Below {
		sign = "< "
	}
	limit := strconv.FormatFloat(t.Limit, 'f', -1, 64)
	if t.Limit == 1 && (figure{Unit: unit}).counts() {
		unit = strings.TrimSuffix(unit, "s")
	}
	if t.OfRatio {
		return sign + limit + " ×"
	}
	return sign + limit + " " + unit
}

// printRows writes the rows as a table or as JSON.
func printRows(w io.Writer, rows []row, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	}
	_, err := io.WriteString(w, tableOf(rows))
	return err
}

// tableOf aligns one line for each row. A note follows as a line of its own.
func tableOf(rows []row) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROMISE\tGATEPASS\tPEER\t\tRATIO\tTARGET\t")
	for _, r := range rows {
		fmt.Fprintln(t, r.line())
	}
	_ = t.Flush() // a strings.Builder never fails
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	var out strings.Builder
	for i, line := range lines {
		out.WriteString(strings.TrimRight(line, " ") + "\n")
		if i > 0 && rows[i-1].Note != "" {
			out.WriteString("    " + rows[i-1].Note + "\n")
		}
	}
	out.WriteString("Times are the lowest of interleaved runs, the median in parentheses; ratios are of the lowest.\n")
	return out.String()
}

func (r row) line() string {
	ratio, limit := "", ""
	if r.Ratio != 0 {
		ratio = fmt.Sprintf("%.2f", r.Ratio)
	}
	if r.Target != nil {
		limit = r.Target.text(r.Ours.Unit)
	}
	return strings.Join([]string{r.Promise, r.Ours.String(), r.PeerName, r.Peer.String(), ratio, limit, r.Verdict}, "\t")
}

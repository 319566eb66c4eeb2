package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

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
	_ = t.Flush() // a strings.Builder takes everything
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

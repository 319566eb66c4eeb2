package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/gatepass/gatepass/internal/usererr"
)

// A table sets text, which may come from elsewhere, in columns.
type table struct {
	text    strings.Builder
	columns *tabwriter.Writer
}

func newTable(heads ...string) *table {
	t := &table{}
	t.columns = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	t.row(heads...)
	return t
}

// row adds a line. What is empty is shown as "-", at the end as nothing.
func (t *table) row(cells ...string) {
	last := len(cells) - 1
	for i, cell := range cells {
		if cell == "" && i < last {
			cell = "-"
		}
		cells[i] = usererr.Escape(cell)
	}
	fmt.Fprintln(t.columns, strings.Join(cells, "\t"))
}

// String returns the lines without space at their ends.
func (t *table) String() string {
	_ = t.columns.Flush() // into memory
	var b strings.Builder
	for line := range strings.Lines(t.text.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// number is an id, and "" for none.
func number(id int64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprint(id)
}

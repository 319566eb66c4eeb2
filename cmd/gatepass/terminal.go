package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/gatepass/gatepass/internal/usererr"
	"golang.org/x/term"
)

// A table prints text, which may come from outside, in columns.
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

// row adds a line. An empty cell is shown as "-", at the end of the line as nothing.
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

// String returns the lines, without spaces at their ends.
func (t *table) String() string {
	_ = t.columns.Flush() // into memory
	var b strings.Builder
	for line := range strings.Lines(t.text.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// number formats an id; 0 becomes "".
func number(id int64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprint(id)
}

// A dialog asks a person at the terminal, line by line. It writes questions to standard
// error, so that standard output has only the result.
type dialog struct {
	in  *bufio.Reader
	out io.Writer
}

// canAsk reports whether there is a terminal to ask at. If there is, it sets asking.
func (a *app) canAsk() bool {
	if a.asking == nil && isTerminal(a.stdin) && isTerminal(a.stderr) {
		a.asking = &dialog{bufio.NewReader(a.stdin), a.stderr}
	}
	return a.asking != nil
}

// ask asks a question until it gets a line that is not empty. A signal ends the wait.
func (d *dialog) ask(ctx context.Context, question string) (string, error) {
	for range 3 {
		text, err := d.hear(ctx, question+": ")
		if err != nil {
			return "", usererr.Wrap("ask for the "+question, err, "")
		}
		if text != "" {
			return text, nil
		}
	}
	return "", usererr.Wrap("ask for the "+question, errNothingTyped, "")
}

// confirm asks a question. Only yes counts as agreement.
func (d *dialog) confirm(ctx context.Context, question string) (bool, error) {
	text, err := d.hear(ctx, question+" [y/N] ")
	if err != nil && !errors.Is(err, errNothingTyped) {
		return false, usererr.Wrap("ask to "+question, err, "")
	}
	text = strings.ToLower(text)
	return text == "y" || text == "yes", nil
}

var errNothingTyped = errors.New("nothing was typed")

// hear prints a question and returns the typed line, without spaces around it.
func (d *dialog) hear(ctx context.Context, question string) (string, error) {
	type line struct {
		text string
		err  error
	}
	if _, err := fmt.Fprint(d.out, question); err != nil {
		return "", err
	}
	read := make(chan line, 1)
	go func() {
		text, err := d.in.ReadString('\n')
		read <- line{strings.TrimSpace(text), err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.New("it was interrupted")
	case got := <-read:
		switch {
		case got.err == nil || got.text != "":
			return got.text, nil
		case errors.Is(got.err, io.EOF):
			return "", errNothingTyped
		}
		return "", got.err
	}
}

// columns returns the width of the terminal out; 0 if out is not a terminal.
func columns(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// cutTo shortens a line to width, if width is known. --json shows the whole text.
func cutTo(line string, width int) string {
	if r := []rune(line); width > 1 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return line
}

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

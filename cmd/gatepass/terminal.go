package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gatepass/gatepass/internal/usererr"
	"golang.org/x/term"
)

// A screen says what standard output can show. The zero screen is for output that is not a
// terminal: its text has no colours and is not folded, so that programs can read it.
type screen struct {
	width  int // in columns; 0 if it is not a terminal
	colour bool
}

// screen returns the screen of standard output.
func (a *Environment) screen() screen { return screen{columns(a.stdout), a.colour(a.stdout)} }

// colour reports whether out is a terminal that shows colours and NO_COLOR
// (https://no-color.org) is not set.
func (a *Environment) colour(out io.Writer) bool {
	return isTerminal(out) && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// A style is a parameter of the sequence that sets colours on a terminal (ECMA-48, SGR).
type style string

const (
	plainStyle style = ""
	bold       style = "1"
	red        style = "31"
	green      style = "32"
	yellow     style = "33"
)

// paint returns text in a style. It returns text unchanged for a screen without colours.
func (s screen) paint(in style, text string) string {
	if !s.colour || in == plainStyle || text == "" {
		return text
	}
	return "\x1b[" + string(in) + "m" + text + "\x1b[0m"
}

// styles has the style of each word in columns named STATE, RESULT, LEVEL or GUARD.
var styles = map[string]style{
	"ready": green, "known": green, "added": green, "passed": green, "taken over": green, "allows": green,
	"pending": yellow, "failing": yellow, "new": yellow, "changed": yellow, "stale": yellow, "theirs": yellow, "warning": yellow,
	"destroying": yellow, "unchecked": yellow,
	"expired": red, "suspended": red, "unusable": red, "failed": red, "FAILED": red, "VIOLATED": red, "both": red, "failure": red, "refuses": red,
}

// A table prints text, which may come from outside, in columns.
type table struct {
	rows   [][]string
	heads  bool // the first row names the columns
	indent string
}

func newTable(heads ...string) *table { return &table{rows: [][]string{heads}, heads: true} }

// row adds a line. An empty cell is shown as "-", at the end of the line as nothing.
func (t *table) row(cells ...string) {
	last := len(cells) - 1
	for i, cell := range cells {
		if cell == "" && i < last {
			cell = "-"
		}
		cells[i] = usererr.Escape(cell)
	}
	t.rows = append(t.rows, cells)
}

// String returns the lines for output that is not a terminal.
func (t *table) String() string { return t.text(screen{}) }

// text returns the lines, without spaces at their ends. On a screen that is too narrow, it
// folds the widest columns.
func (t *table) text(s screen) string {
	widths := t.widths(s.width)
	var b strings.Builder
	for n, row := range t.rows {
		parts := make([][]string, len(row))
		height := 1
		for i, cell := range row {
			parts[i] = foldCell(cell, widths[i])
			height = max(height, len(parts[i]))
		}
		for line := range height {
			text := t.indent
			for i, part := range parts {
				if line < len(part) {
					text += s.paint(t.style(n, i), part[line]) + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(part[line])+gap)
				} else {
					text += strings.Repeat(" ", widths[i]+gap)
				}
			}
			b.WriteString(strings.TrimRight(text, " ") + "\n")
		}
	}
	return b.String()
}

// style returns the style of a cell: bold for the name of a column, else that of its word.
func (t *table) style(row, column int) style {
	switch head := t.rows[0][column]; {
	case !t.heads:
		return plainStyle
	case row == 0:
		return bold
	case head == "STATE" || head == "RESULT" || head == "LEVEL" || head == "GUARD":
		return styles[t.rows[row][column]]
	}
	return plainStyle
}

const (
	// gap is the space between columns.
	gap = 2
	// narrowest is the width that no column is folded below.
	narrowest = 12
)

// widths returns the width of each column. Their sum, with the gaps, is at most width if that
// is possible; a width of 0 is no limit.
func (t *table) widths(width int) []int {
	var widths []int
	sum := len(t.indent) - gap
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
				sum += gap
			}
			if more := utf8.RuneCountInString(cell) - widths[i]; more > 0 {
				widths[i] += more
				sum += more
			}
		}
	}
	for width > 0 && sum > width {
		widest := slices.Index(widths, slices.Max(widths))
		if widths[widest] <= narrowest {
			break
		}
		widths[widest]--
		sum--
	}
	return widths
}

// foldCell breaks text into lines of at most width, after a space, comma or slash if it can.
func foldCell(text string, width int) []string {
	var lines []string
	runes := []rune(text)
	for len(runes) > width {
		at := width
		for i := width; i > 0; i-- {
			if r := runes[i-1]; r == ' ' || r == ',' || r == '/' || runes[i] == ' ' {
				at = i
				break
			}
		}
		lines = append(lines, strings.TrimRight(string(runes[:at]), " "))
		runes = []rune(strings.TrimLeft(string(runes[at:]), " "))
	}
	return append(lines, string(runes))
}

// pairs formats labels and their values in two indented columns.
func pairs(rows ...[2]string) string {
	t := table{indent: "  "}
	for _, row := range rows {
		t.row(row[0], row[1])
	}
	return t.String()
}

// waitBefore is how long a command waits before it says what for, and the time between two
// such lines.
const waitBefore = 2 * time.Second

// wait prints what the command waits for, if that takes longer than waitBefore and standard
// error is a terminal. The caller calls stop at the end of the wait.
func (a *Environment) wait(what string) (stop func()) {
	return a.waitWith(func() string { return what })
}

// waitWith is wait for work that makes progress: it prints what again when its text has
// changed. It calls what from another goroutine.
func (a *Environment) waitWith(what func() string) (stop func()) {
	if !isTerminal(a.stderr) {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(waitBefore)
		defer tick.Stop()
		for said := ""; ; {
			select {
			case <-done:
				return
			case <-tick.C:
				if text := what(); text != said {
					a.note("waiting for " + text)
					said = text
				}
			}
		}
	}()
	return sync.OnceFunc(func() { close(done); <-ended })
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
func (a *Environment) canAsk() bool {
	if a.asking == nil && isTerminal(a.stdin) && isTerminal(a.stderr) {
		a.asking = &dialog{bufio.NewReader(a.stdin), a.stderr}
	}
	return a.asking != nil
}

// ask asks a question until it gets a line that is not empty. A signal ends the wait.
func (d *dialog) ask(ctx context.Context, question string) (string, error) {
	for range 3 {
		text, err := d.readLine(ctx, question+": ")
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
	text, err := d.readLine(ctx, question+" [y/N] ")
	if err != nil && !errors.Is(err, errNothingTyped) {
		return false, usererr.Wrap("ask to "+question, err, "")
	}
	text = strings.ToLower(text)
	return text == "y" || text == "yes", nil
}

var errNothingTyped = errors.New("nothing was typed")

// readLine prints a question and returns the typed line, without spaces around it.
func (d *dialog) readLine(ctx context.Context, question string) (string, error) {
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

package command

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

// A Screen says what standard output can show. The zero screen is for output that is not a
// terminal: its text has no colours and is not folded, so that programs can read it.
type Screen struct {
	width  int // in columns; 0 if it is not a terminal
	colour bool
}

// Screen returns the screen of standard output.
func (a *Environment) Screen() Screen { return Screen{Columns(a.Stdout), a.Colour(a.Stdout)} }

// Colour reports whether out is a terminal that shows colours and NO_COLOR
// (https://no-color.org) is not set.
func (a *Environment) Colour(out io.Writer) bool {
	return IsTerminal(out) && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}

// A Style is a parameter of the sequence that sets colours on a terminal (ECMA-48, SGR).
type Style string

const (
	plainStyle Style = ""
	Bold       Style = "1"
	Red        Style = "31"
	Green      Style = "32"
	Yellow     Style = "33"
)

// Paint returns text in a style. It returns text unchanged for a screen without colours.
func (s Screen) Paint(in Style, text string) string {
	if !s.colour || in == plainStyle || text == "" {
		return text
	}
	return "\x1b[" + string(in) + "m" + text + "\x1b[0m"
}

// Styles has the style of each word in columns named STATE, RESULT, LEVEL or GUARD.
var Styles = map[string]Style{
	"ready": Green, "known": Green, "added": Green, "passed": Green, "taken over": Green, "allows": Green,
	"pending": Yellow, "failing": Yellow, "new": Yellow, "changed": Yellow, "stale": Yellow, "theirs": Yellow, "warning": Yellow,
	"destroying": Yellow, "unchecked": Yellow,
	"expired": Red, "suspended": Red, "unusable": Red, "failed": Red, "FAILED": Red, "VIOLATED": Red, "both": Red, "failure": Red, "refuses": Red,
}

// A Table prints text, which may come from outside, in columns.
type Table struct {
	rows   [][]string
	heads  bool // the first row names the columns
	Indent string
}

func NewTable(heads ...string) *Table { return &Table{rows: [][]string{heads}, heads: true} }

// Row adds a line. An empty cell is shown as "-", at the end of the line as nothing.
func (t *Table) Row(cells ...string) {
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
func (t *Table) String() string { return t.Text(Screen{}) }

// Text returns the lines, without spaces at their ends. On a screen that is too narrow, it
// folds the widest columns.
func (t *Table) Text(s Screen) string {
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
			text := t.Indent
			for i, part := range parts {
				if line < len(part) {
					text += s.Paint(t.style(n, i), part[line]) + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(part[line])+gap)
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
func (t *Table) style(row, column int) Style {
	switch head := t.rows[0][column]; {
	case !t.heads:
		return plainStyle
	case row == 0:
		return Bold
	case head == "STATE" || head == "RESULT" || head == "LEVEL" || head == "GUARD":
		return Styles[t.rows[row][column]]
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
// is possible; a width of 0 means no limit.
func (t *Table) widths(width int) []int {
	var widths []int
	sum := len(t.Indent) - gap
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

// Pairs formats labels and their values in two indented columns.
func Pairs(rows ...[2]string) string {
	t := Table{Indent: "  "}
	for _, row := range rows {
		t.Row(row[0], row[1])
	}
	return t.String()
}

// waitBefore is how long a command waits before it says what for, and the time between two
// such lines.
const waitBefore = 2 * time.Second

// Wait prints what the command waits for, if that takes longer than waitBefore and standard
// error is a terminal. The caller calls stop at the end of the wait.
func (a *Environment) Wait(what string) (stop func()) {
	return a.WaitWith(func() string { return what })
}

// WaitWith is Wait for work that makes progress: it prints what again when its text has
// changed. It calls what from another goroutine.
func (a *Environment) WaitWith(what func() string) (stop func()) {
	if !IsTerminal(a.Stderr) {
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
					a.Note("waiting for " + text)
					said = text
				}
			}
		}
	}()
	return sync.OnceFunc(func() { close(done); <-ended })
}

// Number formats an id; 0 becomes "".
func Number(id int64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprint(id)
}

// A Dialog asks a person at the terminal, line by line. It writes questions to standard
// error, so that standard output has only the result.
type Dialog struct {
	in  *bufio.Reader
	out io.Writer
}

// CanAsk reports whether there is a terminal to ask at. If there is, it sets Asking.
func (a *Environment) CanAsk() bool {
	if a.Asking == nil && IsTerminal(a.Stdin) && IsTerminal(a.Stderr) {
		a.Asking = &Dialog{bufio.NewReader(a.Stdin), a.Stderr}
	}
	return a.Asking != nil
}

// Ask asks a question until it gets a line that is not empty. A signal ends the wait.
func (d *Dialog) Ask(ctx context.Context, question string) (string, error) {
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

// Confirm asks a question. Only yes counts as agreement.
func (d *Dialog) Confirm(ctx context.Context, question string) (bool, error) {
	text, err := d.readLine(ctx, question+" [y/N] ")
	if err != nil && !errors.Is(err, errNothingTyped) {
		return false, usererr.Wrap("ask to "+question, err, "")
	}
	text = strings.ToLower(text)
	return text == "y" || text == "yes", nil
}

var errNothingTyped = errors.New("nothing was typed")

// readLine prints a question and returns the typed line, without spaces around it.
func (d *Dialog) readLine(ctx context.Context, question string) (string, error) {
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

// Columns returns the width of the terminal out; 0 if out is not a terminal.
func Columns(out io.Writer) int {
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

// CutTo shortens a line to width, if width is known. --json shows the whole text.
func CutTo(line string, width int) string {
	if r := []rune(line); width > 1 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return line
}

// IsTerminal reports whether a reader or writer is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// Dash returns text, or - if it is empty.
func Dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

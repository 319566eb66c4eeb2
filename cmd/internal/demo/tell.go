package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/gatepass/gatepass/internal/usererr"
)

// width is the longest line of the story, in columns.
const width = 100

// Select Graphic Rendition parameters (ECMA-48).
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

// A teller prints the story. It ignores write errors: when the reader goes away, the
// process gets a signal.
type teller struct {
	w      io.Writer
	colour bool
	home   string // shown as ~
}

// heading prints the line that introduces a step.
func (t *teller) heading(n int, text string) {
	if n > 1 {
		fmt.Fprintln(t.w)
	}
	t.paragraph(bold, fmt.Sprintf("# %d. %s", n, text))
}

func (t *teller) command(line string) { t.paragraph(cyan, "$ "+line) }

// copied prints a command line to copy, without wrapping it.
func (t *teller) copied(line string) { fmt.Fprintln(t.w, t.paint(cyan, "  "+line)) }

// remark prints what a command's output does not say.
func (t *teller) remark(text string) { t.paragraph(faint, "# "+text) }

// output prints a program's output, with its long lines wrapped.
func (t *teller) output(text string) {
	if t.home != "" {
		text = strings.ReplaceAll(text, t.home, "~")
	}
	for line := range strings.Lines(text) {
		t.paragraph("", usererr.Escape(strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    ")))
	}
}

func (t *teller) sum(r Report) {
	fmt.Fprintln(t.w)
	t.paragraph(bold, "# Checked")
	held := 0
	for _, c := range r.Checks {
		if c.OK {
			held++
			fmt.Fprintln(t.w, t.paint(green, "ok")+"      "+c.Name)
			continue
		}
		fmt.Fprintln(t.w, t.paint(red, "FAILED")+"  "+c.Name)
		t.paragraph("", "        "+c.Problem)
	}
	style := green
	if held < len(r.Checks) {
		style = red
	}
	t.paragraph(style, fmt.Sprintf("%d of %d hold. git %s: %s, %s to GitHub, %s fetched, %.1f s", held, len(r.Checks), r.Git,
		plural(r.Commands, "command"), plural(r.Requests, "request"), plural(r.Tokens, "token"), r.Seconds))
	if r.Scratch != "" {
		t.paragraph("", "kept: "+r.Scratch)
	}
}

// paragraph prints text in lines of at most width columns, broken at blanks. It indents
// the continuation of a line.
func (t *teller) paragraph(style, text string) {
	blanks := len(text) - len(strings.TrimLeft(text, " "))
	indent := strings.Repeat(" ", blanks+4)
	line, rest := fold(text, width)
	fmt.Fprintln(t.w, t.paint(style, line))
	for rest != "" {
		line, rest = fold(rest, width-len(indent))
		fmt.Fprintln(t.w, t.paint(style, indent+line))
	}
}

// fold splits text at the last blank that leaves at most room characters; it never
// splits a word.
func fold(text string, room int) (line, rest string) {
	if utf8.RuneCountInString(text) <= room {
		return text, ""
	}
	column, cut := 0, -1
	for i, r := range text {
		if r == ' ' && (column <= room || cut < 0) && strings.TrimSpace(text[:i]) != "" {
			cut = i
		}
		if column++; column > room && cut >= 0 {
			break
		}
	}
	if cut < 0 {
		return text, ""
	}
	return text[:cut], strings.TrimLeft(text[cut:], " ")
}

func (t *teller) paint(style, text string) string {
	if !t.colour || style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

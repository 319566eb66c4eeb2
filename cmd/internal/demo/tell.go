package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/test/fakegithub"
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

// A printer prints the story. It ignores write errors: when the reader goes away, the
// process gets a signal.
type printer struct {
	w      io.Writer
	colour bool
	home   string // shown as ~
}

// heading prints the line that introduces a step.
func (t *printer) heading(n int, text string) {
	if n > 1 {
		fmt.Fprintln(t.w)
	}
	t.paragraph(bold, fmt.Sprintf("# %d. %s", n, text))
}

func (t *printer) command(line string) { t.paragraph(cyan, "$ "+line) }

// copied prints a command line to copy, without wrapping it.
func (t *printer) copied(line string) { fmt.Fprintln(t.w, t.paint(cyan, "  "+line)) }

// remark prints what a command's output does not say.
func (t *printer) remark(text string) { t.paragraph(faint, "# "+text) }

// output prints a program's output, with its long lines wrapped.
func (t *printer) output(text string) {
	if t.home != "" {
		text = strings.ReplaceAll(text, t.home, "~")
	}
	for line := range strings.Lines(text) {
		t.paragraph("", usererr.Escape(strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    ")))
	}
}

func (t *printer) sum(r Report) {
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
	t.paragraph(style, fmt.Sprintf("%d of %d checks passed. git %s: %s, %s to GitHub, %s fetched, %.1f s", held, len(r.Checks), r.Git,
		plural(r.Commands, "command"), plural(r.Requests, "request"), plural(r.Tokens, "token"), r.Seconds))
	if r.Scratch != "" {
		t.paragraph("", "kept: "+r.Scratch)
	}
}

// paragraph prints text in lines of at most width columns, broken at blanks. It indents
// the continuation of a line.
func (t *printer) paragraph(style, text string) {
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

func (t *printer) paint(style, text string) string {
	if !t.colour || style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// commandWait limits one command; all of them together take about a second.
const commandWait = 30 * time.Second

// A result is what one command did.
type result struct {
	output   string // both streams, in the order of output
	failed   error
	grants   []grant // the tokens that were fetched meanwhile
	requests []fakegithub.Request
}

// run prints and runs a command line, in a folder below home.
func (d *demo) run(ctx context.Context, dir, line string) result {
	d.show.command(line)
	before := len(d.source.all())
	d.github.ResetRequests()
	out, err := d.quiet(ctx, d.home+"/"+dir, line)
	r := result{output: out, failed: err, grants: d.source.all()[before:], requests: d.github.gitRequests()}
	d.show.output(out)
	d.outputs = append(d.outputs, out)
	d.report.Requests += len(r.requests)
	if strings.HasPrefix(line, "git ") {
		d.report.Commands++
	}
	return r
}

// count prints how many requests and tokens a command took.
func (d *demo) count(r result) {
	text := fmt.Sprintf("%s to GitHub, %s fetched", plural(len(r.requests), "request"), plural(len(r.grants), "token"))
	for _, g := range r.grants {
		text += fmt.Sprintf(": %s %s, sha256:%.8s…", g.operation, g.repository, g.token.Hash())
	}
	d.show.remark(text)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// quiet runs a command line in the shell and returns what it printed. The command gets
// nothing of this process's environment. When ctx ends, the command and its children
// are killed.
func (d *demo) quiet(ctx context.Context, dir, line string, args ...string) (string, error) {
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("%s: there is no directory %s", line, filepath.Base(dir))
	}
	ctx, cancel := context.WithTimeout(ctx, commandWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", line, "sh"}, args...)...)
	cmd.Dir = dir
	for name, value := range d.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	slices.Sort(cmd.Env)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // time to read the output of a command that ended, on a slow machine
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // not the signal that ended it
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", line, err)
	}
	return out.String(), err
}

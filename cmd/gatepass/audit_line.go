package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/internal/usererr"
)

// printLine prints a line as it is, or for people.
func (w *app) printLine(l audit.Line, asJSON bool) error {
	text := string(usererr.JSON(l.Text)) // another version may have written it as it was
	if !asJSON {
		text = cutTo(lineText(l.Record), columns(w.stdout))
	}
	_, err := io.WriteString(w.stdout, text+"\n")
	return err
}

// lineText is a line in columns: time, kind, decision, workspace, what was asked for, why
// it was refused, and the rest by name. The widths are those of usual values, so that lines
// that come later stand below each other as well.
func lineText(r audit.Record) string {
	var asked []string
	for _, word := range []string{r.Operation, r.Repository, r.Ref} {
		if word != "" {
			asked = append(asked, usererr.Escape(word))
		}
	}
	text := fmt.Sprintf("%s  %-8s  %-8s  %-12s  %-24s  %s", r.Time.UTC().Format("2006-01-02T15:04:05.000Z"), dash(r.Kind), dash(r.Decision), dash(r.Workspace), dash(strings.Join(asked, " ")), reasonText(r))
	for _, c := range []struct{ name, value string }{
		{"rule", r.Rule}, {"subject", r.Subject}, {"token", r.Entry.Hash}, {"request", r.RequestID},
	} {
		if c.value != "" {
			text += fmt.Sprintf("  %s=%q", c.name, c.value)
		}
	}
	return usererr.Escape(strings.TrimRight(text, " "))
}

// reasonText is why, in the log's word and in a sentence.
func reasonText(r audit.Record) string {
	switch {
	case r.Reason == "" || r.Detail == "":
		return r.Reason + r.Detail
	}
	return r.Reason + ": " + r.Detail
}

// columns is how many columns the terminal has that out is; 0 for what is none.
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

// cutTo shortens a line to a width, where there is one. --json shows all of it.
func cutTo(line string, width int) string {
	if r := []rune(line); width > 1 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return line
}

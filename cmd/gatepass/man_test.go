package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
)

func TestEveryCommandHasAPage(t *testing.T) {
	app := testApp()
	pages := manPages(app)
	for _, c := range app.Commands {
		page, ok := pages["gatepass-"+c.Name+".1"]
		if ok == (c.Hidden || c.Name == "help") {
			t.Errorf("%s: has a page: %v", c.Name, ok)
		}
		for _, f := range c.Flags {
			if name := escapeRoff(command.Dashes(f.Names()[0])); ok && f.Names()[0] != "help" && !strings.Contains(page, `\fB`+name+`\fR`) {
				t.Errorf("the page of %s does not name %s", c.Name, name)
			}
		}
	}
	if !strings.Contains(pages["gatepass.1"], `\fBgatepass\-policy\fR(1)`) {
		t.Error("the page of gatepass does not lead to those of its commands")
	}
}

func TestPagesAreText(t *testing.T) {
	var r roff
	r.prose("A line.\n.SH not a request\n'nor this\n\nExamples:\n  one \\ two\n\n  release/* 'x'\nthe end")
	want := strings.Join([]string{
		"A line.", `\&.SH not a request`, `\(aqnor this`, ".PP", "Examples:",
		".PP", ".RS 4", ".nf", `one \e two`, ".PP", `release/* \(aqx\(aq`, ".fi", ".RE", ".PP", "the end", "",
	}, "\n")
	if r.String() != want {
		t.Errorf("prose = %q, want %q", r.String(), want)
	}
}

var (
	// commandLine is a gatepass command as the pages write it: in an indented
	// block, after a prompt, or between backquotes.
	commandLine = regexp.MustCompile("(?m)(?:^    |^\\$ |`)gatepass ((?:[a-z][a-z-]*|--[a-z]).*?)(?:`|  |$)")
	optionName  = regexp.MustCompile(`(?:^|[\s\[])(--[a-z][a-z-]*|-[a-z])\b`)
)

// deepest returns the command with which the words start, and how many words it has.
func deepest(words []string) (at string, n int) {
	_, rest := command.Resolve(testApp().Commands, words)
	n = len(words) - len(rest)
	return strings.Join(words[:n], " "), n
}

// needPages skips if this test runs away from the source, under another git; the pages
// were checked where it was built.
func needPages(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("../../README.md"); err != nil {
		t.Skip("the pages are not here: ", err)
	}
}

// Every command and option in README and docs exists.
func TestPagesNameCommandsThatExist(t *testing.T) {
	needPages(t)
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range commandLine.FindAllStringSubmatch(string(text), -1) {
			found++
			line, _, _ := strings.Cut(m[1], " -- ") // the command after exec has its own options
			line, _, _ = strings.Cut(line, " #")
			at, n := deepest(strings.Fields(line))
			if n == 0 {
				t.Errorf("%s: gatepass %s is no command", filepath.Base(page), line)
			}
			for _, option := range optionName.FindAllStringSubmatch(line, -1) {
				if !offered(at)[option[1]] {
					t.Errorf("%s: gatepass %s has no option %s", filepath.Base(page), at, option[1])
				}
			}
		}
	}
	if found < 80 {
		t.Errorf("%d commands were looked at, want all of them", found)
	}
}

// The table of docs/audit.md has every kind of line.
func TestAuditPageNamesTheKinds(t *testing.T) {
	needPages(t)
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range auditKinds {
		if !regexp.MustCompile("(?m)^\\|[^|]*`" + kind + "`").Match(page) {
			t.Errorf("docs/audit.md has no row for the kind %s", kind)
		}
	}
}

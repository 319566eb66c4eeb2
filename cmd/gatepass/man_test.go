package main

import (
	"strings"
	"testing"
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
			if name := escapeRoff(dashes(f.Names()[0])); ok && f.Names()[0] != "help" && !strings.Contains(page, `\fB`+name+`\fR`) {
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

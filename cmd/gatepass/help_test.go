package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// TestHelpFits: no line of any command's help is wider than 80 columns, but what is to be
// copied.
func TestHelpFits(t *testing.T) {
	var walk func(path []string, commands []*cli.Command)
	walk = func(path []string, commands []*cli.Command) {
		help, _, status := gatepass(t.Context(), append(path, "--help")...)
		if status != exitDone {
			t.Errorf("gatepass %v --help: %d", path, status)
		}
		section := ""
		for line := range strings.Lines(help) {
			line = strings.TrimSuffix(line, "\n")
			if line != "" && line[0] != ' ' {
				section = line
			}
			isCopied := section == "DESCRIPTION:" && strings.HasPrefix(line, "    ")
			if utf8.RuneCountInString(line) > helpWidth && !isCopied {
				t.Errorf("gatepass %s --help: %q", strings.Join(path, " "), line)
			}
		}
		for _, c := range commands {
			if !c.Hidden {
				walk(append(path[:len(path):len(path)], c.Name), c.Subcommands)
			}
		}
	}
	w := &app{getenv: func(string) string { return "" }}
	walk(nil, w.commands())
}

func TestFoldHelp(t *testing.T) {
	const text = `NAME:
   gatepass x - does one thing after another and then some more

DESCRIPTION:
   One sentence that was set
   for another width than this.

   Examples:
     gatepass x --with-an-option VALUE --and-another VALUE

OPTIONS:
   --option VALUE  what the option does, said at some length
   --store ssm:///a-word-that-fits-no-line-of-this-width  short
`
	const want = `NAME:
   gatepass x - does one thing after
       another and then some more

DESCRIPTION:
   One sentence that was set for another
   width than this.

   Examples:
     gatepass x --with-an-option VALUE --and-another VALUE

OPTIONS:
   --option VALUE  what the option does,
                   said at some length
   --store
       ssm:///a-word-that-fits-no-line-of-this-width
       short
`
	if got := foldHelp(text, 40); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

package main

import (
	_ "embed" // for the completion scripts
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/cmd/gatepass/app"
	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/cmd/gatepass/policy"
	"github.com/gatepass/gatepass/install"
	"github.com/urfave/cli/v2"
)

// helpWidth is the width of help, in columns, if it is not written to a terminal.
const helpWidth = 80

// The library has one printer for all commands.
func init() { cli.HelpPrinter = printHelp }

// printHelp writes the library's help, wrapped to the width of the terminal.
func printHelp(out io.Writer, text string, data any) {
	width := command.Columns(out)
	if width <= 0 {
		width = helpWidth
	}
	var b strings.Builder
	cli.HelpPrinterCustom(&b, text, data, nil)
	_, _ = io.WriteString(out, foldHelp(b.String(), width)) // an error means that the reader has gone
}

// foldHelp wraps help to a width. It rewraps the sentences of a description. Lines that
// are indented further are examples to copy, and stay as they are. A line in columns
// continues below its second column.
func foldHelp(text string, width int) string {
	var b strings.Builder
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			b.WriteString(foldLine("   "+strings.Join(paragraph, " "), 3, width))
			paragraph = nil
		}
	}
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		isProse := section == "DESCRIPTION:" && indent == 3
		if isProse {
			paragraph = append(paragraph, strings.TrimSpace(line))
			if !strings.HasSuffix(line, ":") {
				continue
			}
		}
		flush()
		switch {
		case isProse:
		case line == "":
			b.WriteString("\n")
		case indent == 0:
			section = line
			b.WriteString(line + "\n")
		case section == "DESCRIPTION:":
			b.WriteString(line + "\n")
		default:
			b.WriteString(foldLine(line, secondColumn(line, indent), width))
		}
	}
	flush()
	return b.String()
}

var columnGap = regexp.MustCompile(`^ *\S.*?  +`)

// secondColumn returns the indent of a continued line: below its second column, or a
// little further in than it started.
func secondColumn(line string, indent int) int {
	if gap := columnGap.FindString(line); gap != "" && len(gap) <= 32 {
		return len(gap)
	}
	return indent + 4
}

// foldLine breaks a line at blanks, and indents the continuation.
func foldLine(line string, indent, width int) string {
	var b strings.Builder
	column := 0
	lead := line[:len(line)-len(strings.TrimLeft(line, " "))]
	rest := line[len(lead):]
	b.WriteString(lead)
	column = len(lead)
	isFirst := true
	for rest != "" {
		blanks := len(rest) - len(strings.TrimLeft(rest, " "))
		word, _, _ := strings.Cut(rest[blanks:], " ")
		room := utf8.RuneCountInString(word)
		if !isFirst && column+blanks+room > width {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column, blanks = indent, 0
		}
		b.WriteString(strings.Repeat(" ", blanks) + word)
		column += blanks + room
		rest = rest[len(rest)-len(strings.TrimLeft(rest, " "))+len(word):]
		isFirst = false
	}
	return b.String() + "\n"
}

// The scripts ask "gatepass complete -- WORD...", which runs nothing of what is
// typed, instead of the library's "gatepass WORD... --generate-bash-completion":
//   - The library does not complete a line with "--" in it, it runs it. Tab after
//     "gatepass exec -- rm x" would run rm. The library's script for bash also
//     evaluates the line: Tab after "gatepass $(rm x) " would run rm.
//   - The library offers commands and options, but no values and no directories.
//     Its script for bash and ToFishCompletion each fail 6 of the 11 lines of
//     completion_shells_test.go.
//
// Our completion is 200 lines of Go and 90 of shell, and adds no module. Leaving the
// library's completion unused saves no bytes: it is linked anyway.

const completionAbout = `Prints the completion script of a shell: bash, zsh or fish. When you press Tab, the
script asks the gatepass on PATH for completions. "make install" and packages
install the script; to install it by hand:

  gatepass completion bash >~/.local/share/bash-completion/completions/gatepass
  gatepass completion zsh  >~/.zfunc/_gatepass       if fpath has ~/.zfunc
  gatepass completion fish >~/.config/fish/completions/gatepass.fish`

var (
	//go:embed completion.bash
	bashCompletion string
	//go:embed completion.zsh
	zshCompletion string
	//go:embed completion.fish
	fishCompletion string
)

// shells has the completion script of each shell.
var shells = map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}

func completionCommand(out io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print the completion script of a shell",
		UsageText:   "gatepass completion bash|zsh|fish",
		Description: completionAbout,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return command.Usage(c, "name one shell: bash, zsh or fish")
			}
			script, known := shells[c.Args().First()]
			if !known {
				return command.Usage(c, fmt.Sprintf("there is no script for %q; it must be one of bash, zsh, fish", c.Args().First()))
			}
			_, err := io.WriteString(out, script)
			return err
		},
	}
}

// completeCommand is the command that the completion scripts call.
func completeCommand(out io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "complete",
		Usage:     "print completions for the last WORD of a command line",
		UsageText: "gatepass complete -- WORD...",
		Hidden:    true,
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return command.Usage(c, "the words of the command line are missing")
			}
			_, err := io.WriteString(out, offers(c.App, c.Args().Slice()))
			return err
		},
	}
}

// choices are the values of each option and argument that takes one of a fixed set.
var choices = map[string][]string{
	"app create --permissions":   app.PermissionVerbs,
	"app manifest --permissions": app.PermissionVerbs,
	"doctor --side":              {issuingSide, workspaceSide, bothSides},
	"install --guard":            guards(),
	"token --format":             {"text", "json"},
	"token --operation":          {"read", "write"},
	"exec --operation":           {"read", "write"},
	"policy check --verb":        {"create", "update", "force", "delete", "move"},
	"policy export --format":     {policy.RulesetFormat},
	"audit search --decision":    {broker.Granted, broker.Refused},
	"audit search --kind":        auditKinds,
	"completion":                 {"bash", "zsh", "fish"},
}

func guards() []string {
	var names []string
	for _, g := range install.Guards() {
		names = append(names, string(g))
	}
	return names
}

// offers returns the completions for the last of words, which are the words after
// "gatepass". Each line of the result is a word, with its description after a tab; or
// ":file" or ":directory", which the shell completes by itself; or ":command" and,
// after a tab, the index at which another command starts, counted from "gatepass". The
// shell picks the completions that start with the last word.
func offers(app *cli.App, words []string) string {
	before, current := words[:len(words)-1], words[len(words)-1]
	if i := slices.Index(before, "--"); i >= 0 {
		if before[0] != command.ExecName {
			return ""
		}
		return fmt.Sprintf(":command\t%d\n", i+2)
	}
	in, rest := command.Resolve(app.Commands, before)
	if in == nil {
		in = &cli.Command{Subcommands: app.Commands}
	}
	at := strings.Join(before[:len(before)-len(rest)], " ")
	option, prefix := optionBefore(before, current)
	switch {
	case command.OptionLen(in, []string{option, ""}) == 2:
		return values(in, at, option, prefix)
	case strings.HasPrefix(current, "-"):
		return optionNames(in)
	}
	var b strings.Builder
	for _, sub := range in.Subcommands {
		if !sub.Hidden && sub.Name != "help" {
			b.WriteString(sub.Name + "\t" + sub.Usage + "\n")
		}
	}
	for _, value := range choices[at] {
		b.WriteString(value + "\n")
	}
	return b.String()
}

// optionBefore returns the option before current, and the part of current before the
// value. Bash splits "--guard=hook" into three words.
func optionBefore(before []string, current string) (option, prefix string) {
	if name, _, found := strings.Cut(current, "="); found && name != "" {
		return name, name + "="
	}
	if n := len(before); n > 1 && before[n-1] == "=" {
		before = before[:n-1]
	}
	if len(before) == 0 {
		return "", ""
	}
	return before[len(before)-1], ""
}

// values returns the completions for the value of an option.
func values(of *cli.Command, at, option, prefix string) string {
	var b strings.Builder
	for _, value := range choices[at+" "+option] {
		b.WriteString(prefix + value + "\n")
	}
	for _, f := range of.Flags {
		documented, ok := f.(cli.DocGenerationFlag)
		if !ok || !slices.Contains(f.Names(), strings.TrimLeft(option, "-")) {
			continue
		}
		switch placeholder, _ := placeholderIn(documented.GetUsage()); placeholder {
		case "FILE", "PEM":
			b.WriteString(":file\n")
		case "DIR":
			b.WriteString(":directory\n")
		}
	}
	return b.String()
}

func optionNames(of *cli.Command) string {
	var b strings.Builder
	for _, f := range of.Flags {
		documented, ok := f.(cli.DocGenerationFlag)
		if !ok || f.Names()[0] == "help" {
			continue
		}
		_, about := placeholderIn(documented.GetUsage())
		for _, name := range f.Names() {
			b.WriteString(command.Dashes(name) + "\t" + about + "\n")
		}
	}
	return b.String() + "--help\tshow help\n"
}

// placeholderIn returns the word in backquotes, and the usage without them.
func placeholderIn(usage string) (placeholder, plain string) {
	before, rest, found := strings.Cut(usage, "`")
	placeholder, after, closed := strings.Cut(rest, "`")
	if !found || !closed {
		return "", usage
	}
	return placeholder, before + placeholder + after
}

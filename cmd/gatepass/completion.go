package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/install"
	"github.com/urfave/cli/v2"
)

const completionAbout = `Prints the completion script of a shell: bash, zsh or fish. It is complete in
itself: pressing Tab does not run gatepass. "make install" and packages put
it in place; by hand:

  gatepass completion bash >~/.local/share/bash-completion/completions/gatepass
  gatepass completion zsh  >~/.zfunc/_gatepass       where fpath has ~/.zfunc
  gatepass completion fish >~/.config/fish/completions/gatepass.fish`

// shells are those there is a script for.
var shells = map[string]func([]completed) string{
	"bash": bashCompletion,
	"zsh":  zshCompletion,
	"fish": fishCompletion,
}

func (w *world) completionCommand() *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print the completion script of a shell",
		UsageText:   "gatepass completion bash|zsh|fish",
		Description: completionAbout,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usage(c, "name one shell: bash, zsh or fish")
			}
			script, known := shells[c.Args().First()]
			if !known {
				return usage(c, fmt.Sprintf("there is no script for %q; name bash, zsh or fish", c.Args().First()))
			}
			_, err := io.WriteString(w.stdout, script(completions(c.App)))
			return err
		},
	}
}

// A completed command is what may follow the words At, which begin with a space
// each: " policy check". The program itself has "".
type completed struct {
	at       string
	words    []described // commands, or values of the argument
	options  []described // with their dashes
	commands bool        // words are commands, to be gone into
}

// described is a word to offer.
type described struct {
	word, about string
	value       valueKind // of an option
	choices     []string  // where value is chosen
}

// A valueKind is what an option wants after it.
type valueKind int

const (
	none valueKind = iota
	text
	file
	directory
	chosen
)

// choices are the values of options and arguments that have few.
var choices = map[string][]string{
	" app create --permissions":   permissionVerbs,
	" app manifest --permissions": permissionVerbs,
	" doctor --side":              {issuingSide, workspaceSide, bothSides},
	" install --guard":            guards(),
	" token --format":             {"text", "json"},
	" token --operation":          {"read", "write"},
	" exec --operation":           {"read", "write"},
	" policy check --verb":        {"create", "update", "force", "delete", "move"},
	" policy export --format":     {rulesetFormat},
	" audit search --decision":    {broker.Granted, broker.Refused},
	" audit search --kind":        auditKinds,
	" completion":                 {"bash", "zsh", "fish"},
}

func guards() []string {
	var names []string
	for _, g := range install.Guards() {
		names = append(names, string(g))
	}
	return names
}

// completions goes through all commands that are not hidden.
func completions(app *cli.App) []completed {
	var all []completed
	var walk func(at string, commands []*cli.Command, flags []cli.Flag)
	walk = func(at string, commands []*cli.Command, flags []cli.Flag) {
		commands = slices.DeleteFunc(slices.Clone(commands), func(c *cli.Command) bool { return c.Hidden || c.Name == "help" })
		c := completed{at: at, commands: len(commands) > 0, options: options(at, flags)}
		for _, sub := range commands {
			c.words = append(c.words, described{word: sub.Name, about: sub.Usage})
		}
		for _, value := range choices[at] {
			c.words = append(c.words, described{word: value})
		}
		all = append(all, c)
		for _, sub := range commands {
			walk(at+" "+sub.Name, sub.Subcommands, sub.Flags)
		}
	}
	walk("", app.Commands, nil)
	return all
}

func options(at string, flags []cli.Flag) []described {
	list := []described{}
	for _, f := range flags {
		documented, ok := f.(cli.DocGenerationFlag)
		if !ok || f.Names()[0] == "help" {
			continue
		}
		placeholder, about := placeholderIn(documented.GetUsage())
		for _, name := range f.Names() {
			d := described{word: dashes(name), about: about, choices: choices[at+" "+dashes(name)]}
			d.value = kindOf(documented.TakesValue(), placeholder, d.choices)
			list = append(list, d)
		}
	}
	return append(list, described{word: "--help", about: "show help"})
}

func kindOf(takesValue bool, placeholder string, choices []string) valueKind {
	switch {
	case !takesValue:
		return none
	case len(choices) > 0:
		return chosen
	case placeholder == "FILE" || placeholder == "PEM":
		return file
	case placeholder == "DIR":
		return directory
	}
	return text
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

// quoted is s in single quotes, for any of the shells.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func wordsOf(list []described) []string {
	words := make([]string, len(list))
	for i, d := range list {
		words[i] = d.word
	}
	return words
}

// valued returns "AT OPTION" of the options with a kind of value, each quoted,
// as alternatives of a shell's case.
func valued(all []completed, kind valueKind) string {
	var names []string
	for _, c := range all {
		for _, o := range c.options {
			if o.value == kind {
				names = append(names, quoted(c.at+" "+o.word))
			}
		}
	}
	return strings.Join(names, "|")
}

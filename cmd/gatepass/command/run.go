package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/suggest"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// The exit codes of gatepass.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// ExecName is the command whose arguments belong to another program.
const ExecName = "exec"

// NewApp returns gatepass with some of its commands.
func NewApp(a *Environment, commands []*cli.Command) *cli.App {
	line := &cli.App{
		Name:         "gatepass",
		UsageText:    "gatepass COMMAND [options]\ngatepass COMMAND --help",
		HideVersion:  true,
		Commands:     commands,
		Reader:       a.Stdin,
		Writer:       a.Stdout,
		ErrWriter:    a.Stderr,
		OnUsageError: onUsageError,
		// Otherwise the library would end the process.
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         group,
	}
	prepare(line.Commands)
	return line
}

// Execute runs a command line, prints its error, and returns the exit code.
func Execute(ctx context.Context, line *cli.App, args []string) int {
	err := line.RunContext(ctx, append([]string{"gatepass"}, OptionsFirst(line.Commands, args)...))
	if err == nil {
		return ExitDone
	}
	if err.Error() != "" {
		_, _ = io.WriteString(line.ErrWriter, usererr.Line(err))
	}
	if s, ok := errors.AsType[*StatusError](err); ok {
		return s.Status
	}
	_, mistyped := errors.AsType[*UsageError](err)
	_, library := errors.AsType[cli.ExitCoder](err) // we return none, so this is the library's: "help" for an unknown topic
	if mistyped || library {
		return ExitUsage
	}
	return ExitFailed
}

// A StatusError ends the program with its own exit status. With a nil err, nothing is
// printed.
type StatusError struct {
	Status int
	Err    error
}

func (e *StatusError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// prepare sets on all commands what the library does not inherit.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		if len(c.Subcommands) > 0 && c.Action == nil {
			c.Action = group
		}
		prepare(c.Subcommands)
	}
}

// group is the action of a command that needs a subcommand, when none or an unknown one
// follows.
func group(c *cli.Context) error {
	siblings, typed := c.Command.Subcommands, c.Args().First()
	if typed == "" && len(c.Lineage()) <= 2 {
		return cli.ShowAppHelp(c)
	}
	if typed == "" {
		return Usage(c, "a command is missing: it must be one of "+nameList(siblings))
	}
	what := fmt.Sprintf("unknown command %q", typed)
	if meant := suggest.Closest(typed, names(siblings)); meant != "" {
		what += fmt.Sprintf(": did you mean %q?", meant)
	}
	return Usage(c, what)
}

func nameList(commands []*cli.Command) string { return strings.Join(names(commands), ", ") }

func names(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	return names
}

// onUsageError turns the flag parser's error into one line.
func onUsageError(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if option, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		text = "unknown option " + Dashes(option)
	}
	return Usage(c, text)
}

// Dashes returns an option's name with its dashes.
func Dashes(option string) string {
	if len(option) > 1 {
		return "--" + option
	}
	return "-" + option
}

// OptionsFirst moves the options of a command before its arguments, as the library
// requires: people write "policy check main --verb force". What follows "--" stays, and
// so does everything after "exec", whose arguments belong to another program.
func OptionsFirst(commands []*cli.Command, args []string) []string {
	command, rest := Resolve(commands, args)
	if command == nil || len(command.Subcommands) > 0 || command.Name == ExecName {
		return args
	}
	ordered := slices.Clone(args[:len(args)-len(rest)])
	var operands []string
	for len(rest) > 0 {
		n := OptionLen(command, rest)
		switch {
		case rest[0] == "--":
			return slices.Concat(ordered, []string{"--"}, operands, rest[1:])
		case n == 0:
			operands, rest = append(operands, rest[0]), rest[1:]
		default:
			ordered, rest = append(ordered, rest[:n]...), rest[n:]
		}
	}
	return append(ordered, operands...)
}

// Resolve returns the command that args start with, and the words after its name.
func Resolve(commands []*cli.Command, args []string) (command *cli.Command, rest []string) {
	for len(args) > 0 {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[0]) })
		if i < 0 {
			break
		}
		command, commands, args = commands[i], commands[i].Subcommands, args[1:]
	}
	return command, args
}

// OptionLen is how many of args the option at their start takes: 0 if there is no
// option, 2 if its value follows.
func OptionLen(command *cli.Command, args []string) int {
	name := strings.TrimLeft(args[0], "-")
	if name == "" || name == args[0] {
		return 0
	}
	for _, f := range command.Flags {
		documented, ok := f.(cli.DocGenerationFlag)
		if ok && documented.TakesValue() && slices.Contains(f.Names(), name) {
			return min(2, len(args))
		}
	}
	return 1
}

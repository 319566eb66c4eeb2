package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// optionsFirst moves the options of a command in front of its arguments, where
// the library wants them: people write "policy check main --verb force". What
// follows "--" stays, and so does everything after "exec", whose arguments are
// another program's.
func optionsFirst(commands []*cli.Command, args []string) []string {
	command, rest := resolve(commands, args)
	if command == nil || len(command.Subcommands) > 0 || command.Name == execName {
		return args
	}
	ordered := slices.Clone(args[:len(args)-len(rest)])
	var operands []string
	for len(rest) > 0 {
		n := optionLen(command, rest)
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

// resolve returns the command that args begin with, and what follows its name.
func resolve(commands []*cli.Command, args []string) (command *cli.Command, rest []string) {
	for len(args) > 0 {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[0]) })
		if i < 0 {
			break
		}
		command, commands, args = commands[i], commands[i].Subcommands, args[1:]
	}
	return command, args
}

// optionLen is how many of args the option at their beginning takes: none where
// there is no option, two where its value follows.
func optionLen(command *cli.Command, args []string) int {
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

package main

import (
	"fmt"
	"io"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

const tokenAbout = `Asks the agent, as git's helper does, and prints the bare token: of the
working directory's repository, which is where origin points to, or of
--repo and --host.

A terminal keeps what it shows; there it is printed only with --show.
For a program that needs a token in its environment, gatepass exec is
better: it ends with that program.

Examples:
  gatepass token | gh auth login --with-token
  gatepass token --repo acme/widgets --operation read
  gatepass token --format json | jq 'del(.token)'      what it opens, and until when`

func (w *app) tokenCommand() *cli.Command {
	return &cli.Command{
		Name:        "token",
		Usage:       "print the token for a repository",
		UsageText:   "gatepass token [--format text|json] [--show] [--repo OWNER/NAME] [--host HOST] [--operation read|write] [--fresh]",
		Description: tokenAbout,
		Flags: append(targetFlags(),
			&cli.StringFlag{Name: "format", Value: "text", Usage: "`HOW` to print it: text, which is the token alone, or json with all that is known of it"},
			&cli.BoolFlag{Name: "show", Usage: "print it to a terminal too", DisableDefaultText: true},
			&cli.BoolFlag{Name: "json", Usage: "the same as --format json", DisableDefaultText: true},
		),
		Action: w.printToken,
	}
}

func (w *app) printToken(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	format := c.String("format")
	if format != "text" && format != "json" {
		return usage(c, fmt.Sprintf("--format %q is neither text nor json", format))
	}
	if isTerminal(w.stdout) && !c.Bool("show") {
		return usererr.New("print the token", "standard output is a terminal", "pipe it into the program that needs it, or add --show")
	}
	_, grant, err := w.granted(c)
	if err != nil {
		return err
	}
	if format == "json" || c.Bool("json") {
		return writeJSON(w.stdout, grant)
	}
	_, err = io.WriteString(w.stdout, grant.Token+"\n")
	return err
}

// isTerminal is of a reader or a writer.
func isTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/cmd/internal/demo"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

const demoAbout = `Shows what gatepass does, on this machine, in a few seconds: with a GitHub
double and a workspace, your git and gatepass's programs clone, fetch and push.
Every command shown is run, and its result is checked. The exit code is 1 if a
check fails.

With --serve, a GitHub double, a store with an App, a broker with its git gateway
and the operators' page run until ctrl-C, and the output says what to try.

The demo does not read or change your files, and leaves no files behind. git must
be on PATH, and the other programs in this program's directory.

NO_COLOR turns colours off.`

func demoCommand(a *command.Environment) *cli.Command {
	return &cli.Command{
		Name:        "demo",
		Usage:       "show the whole story on this machine: clone, push, refused push, revoked token",
		UsageText:   "gatepass demo [--json] [--keep]\ngatepass demo --serve [--keep]",
		Description: demoAbout,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "serve", Usage: "run a GitHub double, a broker and its page until ctrl-C", DisableDefaultText: true},
			&cli.BoolFlag{Name: "keep", Usage: "keep the scratch directory, and print its path", DisableDefaultText: true},
			command.JSONFlag(),
		},
		Action: func(c *cli.Context) error { return runDemo(a, c) },
	}
}

func runDemo(a *command.Environment, c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return usererr.Wrap("find gatepass's programs", err, "")
	}
	// The demo must clean up even if the reader goes away, as in "gatepass demo |
	// head", or the terminal closes.
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	o := demo.Options{
		BinDir: filepath.Dir(self), Path: a.Getenv("PATH"), Story: a.Stdout,
		Colour: a.Colour(a.Stdout), Keep: c.Bool("keep"),
	}
	if c.Bool("serve") {
		if c.Bool("json") {
			return command.Usage(c, "--serve cannot be combined with --json")
		}
		return demo.Serve(ctx, o)
	}
	if c.Bool("json") {
		o.Story = nil
	}
	report, err := demo.Run(ctx, o)
	if c.Bool("json") && len(report.Checks) > 0 {
		if err := command.WriteJSON(a.Stdout, report); err != nil {
			return err
		}
	}
	return err
}

package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/gatepass/gatepass/cmd/internal/demo"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

const demoAbout = `Shows what gatepass does, on this machine, in a few seconds: a double of
GitHub, a workspace, and your git with gatepass's programs clone, fetch and
push. Every command shown is run, and what comes of it is checked; the exit
code is 1 when something does not hold.

With --serve it leaves a GitHub double, a store with an App, a broker with its
git gateway and the operators' page running until ctrl-C, and says what to try.

Nothing of yours is read or changed, and nothing is left behind. git has to
be on PATH, and the other programs beside this one.

NO_COLOR turns colours off.`

func demoCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "demo",
		Usage:       "show the whole story on this machine: clone, push, refused push, revoked token",
		UsageText:   "gatepass demo [--json] [--keep]\ngatepass demo --serve [--keep]",
		Description: demoAbout,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "serve", Usage: "run a GitHub double, a broker and its page until ctrl-C, to try things", DisableDefaultText: true},
			&cli.BoolFlag{Name: "keep", Usage: "leave the scratch folder, and say where it is", DisableDefaultText: true},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error { return runDemo(a, c) },
	}
}

func runDemo(a *app, c *cli.Context) error {
	if err := noArguments(c); err != nil {
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
		BinDir: filepath.Dir(self), Path: a.getenv("PATH"), Story: a.stdout,
		Colour: a.colour(a.stdout), Keep: c.Bool("keep"),
	}
	if c.Bool("serve") {
		if c.Bool("json") {
			return usage(c, "--serve has no --json")
		}
		return demo.Serve(ctx, o)
	}
	if c.Bool("json") {
		o.Story = nil
	}
	report, err := demo.Run(ctx, o)
	if c.Bool("json") && len(report.Checks) > 0 {
		if err := writeJSON(a.stdout, report); err != nil {
			return err
		}
	}
	return err
}

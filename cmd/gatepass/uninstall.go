package main

import (
	"context"

	"github.com/gatepass/gatepass/install"
	"github.com/urfave/cli/v2"
)

const uninstallAbout = `Takes out what "gatepass install" wrote, in the same scope: the lines in the
configuration file, the hooks where they are gatepass's own, the programs and
other files of an install --from, and the directories that install made, where
nothing else is in them. All else stays as it is, also variables of your own in
the section gatepass. Without an option, for you alone (--global).

Examples:
  gatepass uninstall --dry-run
  sudo gatepass uninstall --system`

// A planner is install.New or install.Removal.
type planner func(context.Context, install.Options) (*install.Plan, error)

func (w *app) uninstallCommand() *cli.Command {
	return &cli.Command{
		Name:        "uninstall",
		Usage:       "take out what install wrote",
		UsageText:   "gatepass uninstall [--global | --system | --root DIR] [--dry-run]",
		Description: uninstallAbout,
		Flags:       scopeFlags(),
		Action:      func(c *cli.Context) error { return w.change(c, install.Removal) },
	}
}

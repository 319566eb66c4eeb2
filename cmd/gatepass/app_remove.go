package main

import (
	"fmt"

	"github.com/gatepass/gatepass/issuing"
	"github.com/urfave/cli/v2"
)

const appRemoveAbout = `Takes an App out of the pool: its client ID, its key or where that lies, and its
installations are deleted from the store. Workspaces that have tokens of it get
their next ones from another App; those that may write checks do not move by
themselves (gatepass workspace refresh ID --force).

At GitHub nothing is changed: uninstall or delete the App there. The first App is
not removed; replace it with gatepass app add --force.

Example:
  gatepass app remove --pool b`

func (w *app) appRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:        "remove",
		Usage:       "take an App out of the pool",
		UsageText:   "gatepass app remove --pool NAME [--store URL] [--json]",
		Description: appRemoveAbout,
		Flags:       []cli.Flag{poolFlag(), storeFlag(), jsonFlag()},
		Action:      w.appRemove,
	}
}

// removalReport is the JSON of "app remove".
type removalReport struct {
	Pool  string `json:"pool"`
	Store string `json:"store"`
}

func (w *app) appRemove(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.String("pool") == "" {
		return usage(c, "--pool is missing")
	}
	s, err := w.store(c)
	if err != nil {
		return err
	}
	report := removalReport{c.String("pool"), w.storeURL(c)}
	if err := issuing.Leave(c.Context, s, report.Pool); err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(w.stdout, report)
	}
	_, err = fmt.Fprintf(w.stdout, "the App %s is not in the pool any more\n", report.Pool)
	return err
}

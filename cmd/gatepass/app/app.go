// Package app has the commands of "gatepass app", which manage the GitHub App.
package app

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

const appAbout = `GitHub mints the tokens for the GitHub App. The App belongs to a user or an
organization, is installed on the accounts whose repositories it can reach,
and authenticates with a private key.`

// commands are the commands of "gatepass app".
type commands struct{ *command.Environment }

// Command is "gatepass app".
func Command(env *command.Environment) *cli.Command {
	cmd := commands{env}
	return &cli.Command{
		Name:        "app",
		Usage:       "manage the GitHub App that mints the tokens",
		UsageText:   "gatepass app COMMAND [options]",
		Description: appAbout,
		Subcommands: []*cli.Command{
			cmd.createCommand(),
			cmd.addCommand(),
			cmd.discoverCommand(),
			cmd.statusCommand(),
			cmd.rotateKeyCommand(),
			cmd.removeCommand(),
			cmd.manifestCommand(),
			cmd.keyCommand(),
		},
	}
}

// ofPool is the --pool option for a command to run next, or "" for the first App.
func ofPool(name string) string {
	if name == "" {
		return ""
	}
	return " --pool " + name
}

const appDiscoverAbout = `Asks GitHub for every account on which the App is installed, and updates the
store:

  added       the store did not have this installation
  known       the store has its ID already
  changed     the store has another ID; --force replaces it
  stale       the store has an account, but the App is not installed there;
              --prune --force removes it, --prune alone only shows what it
              would remove
  suspended   GitHub mints no tokens for it; it is not added, and an existing
              entry is kept

If GitHub's list is incomplete, nothing is changed.

Examples:
  gatepass app discover
  gatepass app discover --prune            what would be removed
  gatepass app discover --prune --force    replace and remove
  gatepass app discover --pool b           for the App b of the pool`

// discoverWait limits a discovery, which may read many pages from GitHub and as many
// entries of a store.
const discoverWait = 5 * time.Minute

func (cmd commands) discoverCommand() *cli.Command {
	return &cli.Command{
		Name:        "discover",
		Usage:       "find the accounts that have the App installed, and store their installations",
		UsageText:   "gatepass app discover [--prune] [--force] [--pool NAME] [--store URL] [--github-url URL] [--json]",
		Description: appDiscoverAbout,
		Flags: command.IssuingFlags(
			&cli.BoolFlag{Name: "prune", Usage: "show stale entries; with --force, remove them", DisableDefaultText: true},
			&cli.BoolFlag{Name: "force", Usage: "replace changed IDs", DisableDefaultText: true},
			command.PoolFlag(),
		),
		Action: cmd.discover,
	}
}

// Discovery is the JSON of "app discover", and part of that of "app add".
type Discovery struct {
	Installations []issuing.AccountState `json:"installations"`
	Legacy        int64                  `json:"legacy_installation_id,omitempty"`
}

func (cmd commands) discover(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	s, app, err := cmd.StoredApp(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, discoverWait)
	defer cancel()
	proof, err := app.Prove(ctx)
	if err != nil {
		return err
	}
	prune, force := c.Bool("prune"), c.Bool("force")
	stop := cmd.Wait("GitHub, which lists the App's installations")
	found, err := discover(ctx, s, app, issuing.Changes{Replace: force, Remove: prune && force})
	stop()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, found)
	}
	if len(found.Installations) == 0 {
		fmt.Fprintf(cmd.Stdout, "the App is not installed anywhere; install it: %s\n", usererr.Escape(issuing.InstallURL(proof.App)))
	}
	return found.print(cmd.Stdout, cmd.Screen(), prune)
}

func discover(ctx context.Context, s store.Store, app *issuing.App, may issuing.Changes) (Discovery, error) {
	all, err := issuing.Discover(ctx, s, app.App, may)
	if err != nil {
		return Discovery{}, err
	}
	if all == nil {
		all = []issuing.AccountState{} // an empty list in JSON, not null
	}
	legacy, err := issuing.LegacyInstallation(ctx, s)
	return Discovery{all, legacy}, err
}

// print writes a table and a closing line.
func (d Discovery) print(out io.Writer, s command.Screen, prune bool) error {
	var b strings.Builder
	if len(d.Installations) > 0 {
		t := command.NewTable("ACCOUNT", "TYPE", "ID", "REPOSITORIES", "STATE", "NOTE")
		for _, i := range d.Installations {
			t.Row(i.Account, i.Type, command.Number(i.ID), i.Selection, string(i.State), i.Note)
		}
		b.WriteString(t.Text(s))
	}
	if d.Legacy != 0 {
		fmt.Fprintf(&b, "%s has %d; gatepass keeps it and does not use it\n", store.LegacyInstallation(), d.Legacy)
	}
	if closing := d.closing(prune); closing != "" {
		b.WriteString(closing + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// closing counts the states, and says what to do next.
func (d Discovery) closing(prune bool) string {
	counts := map[issuing.State]int{}
	for _, i := range d.Installations {
		counts[i.State]++
	}
	var parts, hints []string
	for _, s := range []issuing.State{issuing.Added, issuing.Replaced, issuing.Removed, issuing.Known, issuing.Changed, issuing.Stale, issuing.Suspended, issuing.Unusable} {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	if counts[issuing.Changed] > 0 {
		hints = append(hints, "; --force replaces changed IDs")
	}
	switch {
	case counts[issuing.Stale] > 0 && prune:
		hints = append(hints, "; nothing was removed: add --force to remove stale entries")
	case counts[issuing.Stale] > 0:
		hints = append(hints, "; gatepass app discover --prune --force removes stale entries")
	}
	return strings.Join(parts, ", ") + strings.Join(hints, "")
}

const appRemoveAbout = `Takes an App out of the pool: its client ID, its key or where that lies, and its
installations are deleted from the store. Workspaces that have tokens of it get
their next ones from another App. GitHub lets no other App update the check runs
that they made with it: where workspaces of the ledger may write checks, it is
refused without --force, and these move by gatepass workspace refresh ID --force.
Brokers ask other Apps from then on; their log says so.

At GitHub nothing is changed: uninstall or delete the App there. The first App is
not removed; replace it with gatepass app add --force.

Example:
  gatepass app remove --pool b`

func (cmd commands) removeCommand() *cli.Command {
	return &cli.Command{
		Name:        "remove",
		Usage:       "remove an App from the pool",
		UsageText:   "gatepass app remove --pool NAME [--force] [--store URL] [--json]",
		Description: appRemoveAbout,
		Flags: []cli.Flag{
			command.PoolFlag(),
			&cli.BoolFlag{Name: "force", Usage: "also if workspaces that may write checks use it", DisableDefaultText: true},
			command.StoreFlag(), command.JSONFlag(),
		},
		Action: cmd.remove,
	}
}

// removalReport is the JSON of "app remove".
type removalReport struct {
	Pool  string `json:"pool"`
	Store string `json:"store"`
}

// mayRemove returns an error if workspaces have check runs that only this App can update.
func (cmd commands) mayRemove(c *cli.Context, s store.Store) error {
	name := c.String("pool")
	if c.Bool("force") || store.CheckApp(name) != nil { // the removal itself reports the name
		return nil
	}
	ids, err := issuing.WithChecksOf(c.Context, s, name)
	if err != nil || len(ids) == 0 {
		return err
	}
	named := strings.Join(ids[:min(len(ids), 3)], ", ")
	if len(ids) > 3 {
		named += fmt.Sprintf(" and %d more", len(ids)-3)
	}
	return usererr.New("remove the App "+name+" from the pool", "workspaces that may write checks use it, and GitHub lets no other App update their check runs: "+named, "destroy them or let their checks complete, then add --force")
}

func (cmd commands) remove(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	if c.String("pool") == "" {
		return command.Usage(c, "--pool is missing")
	}
	s, err := cmd.Store(c)
	if err != nil {
		return err
	}
	if err := cmd.mayRemove(c, s); err != nil {
		return err
	}
	report := removalReport{c.String("pool"), cmd.StoreURL(c)}
	if err := issuing.RemoveFromPool(c.Context, s, report.Pool); err != nil {
		return err
	}
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, report)
	}
	_, err = fmt.Fprintf(cmd.Stdout, "the App %s is no longer in the pool\n", report.Pool)
	return err
}

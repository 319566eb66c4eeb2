package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

const appDiscoverAbout = `Asks GitHub for every account the App is installed on, and brings the store up
to that:

  added       an installation the store did not know
  known       the store has its id already
  changed     the store has another id; --force replaces it
  stale       the store has an account where the App is not installed (any
              more); --prune --force removes it, --prune alone removes nothing
              and shows what would go
  suspended   GitHub gives no tokens; it is not added, and an entry that is
              there stays

Nothing is changed where GitHub's list did not come to its end.

Examples:
  gatepass app discover
  gatepass app discover --prune            what would be removed
  gatepass app discover --prune --force    replace and remove
  gatepass app discover --pool b           of the App b beside the first one`

// discoverWait bounds many pages of GitHub's and as many entries of a store.
const discoverWait = 5 * time.Minute

func (w *app) appDiscoverCommand() *cli.Command {
	return &cli.Command{
		Name:        "discover",
		Usage:       "find the accounts the App is installed on, and keep their installations",
		UsageText:   "gatepass app discover [--prune] [--force] [--pool NAME] [--store URL] [--github-url URL] [--json]",
		Description: appDiscoverAbout,
		Flags: issuingFlags(
			&cli.BoolFlag{Name: "prune", Usage: "show what is stale as going; with --force remove it", DisableDefaultText: true},
			&cli.BoolFlag{Name: "force", Usage: "replace ids that changed", DisableDefaultText: true},
			poolFlag(),
		),
		Action: w.appDiscover,
	}
}

// discovery is the JSON of "app discover", and part of that of "app add".
type discovery struct {
	Installations []issuing.Standing `json:"installations"`
	Legacy        int64              `json:"legacy_installation_id,omitempty"`
}

func (w *app) appDiscover(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	s, app, err := w.storedApp(c)
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
	found, err := discover(ctx, s, app, issuing.Changes{Replace: force, Remove: prune && force})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(w.stdout, found)
	}
	if len(found.Installations) == 0 {
		fmt.Fprintf(w.stdout, "the App is not installed anywhere; install it: %s\n", usererr.Escape(issuing.InstallURL(proof.App)))
	}
	return found.print(w.stdout, prune)
}

func discover(ctx context.Context, s store.Store, app *issuing.App, may issuing.Changes) (discovery, error) {
	all, err := issuing.Discover(ctx, s, app.App, may)
	if err != nil {
		return discovery{}, err
	}
	if all == nil {
		all = []issuing.Standing{} // a list in JSON, too
	}
	legacy, err := issuing.Legacy(ctx, s)
	return discovery{all, legacy}, err
}

// print writes a table, and one line on what it comes to.
func (d discovery) print(out io.Writer, prune bool) error {
	var b strings.Builder
	if len(d.Installations) > 0 {
		t := newTable("ACCOUNT", "TYPE", "ID", "REPOSITORIES", "STATE", "NOTE")
		for _, i := range d.Installations {
			t.row(i.Account, i.Type, number(i.ID), i.Selection, string(i.State), i.Note)
		}
		b.WriteString(t.String())
	}
	if d.Legacy != 0 {
		fmt.Fprintf(&b, "%s holds %d, which gatepass leaves in place and does not use\n", store.LegacyInstallation(), d.Legacy)
	}
	if closing := d.closing(prune); closing != "" {
		b.WriteString(closing + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// closing counts the states, and says how to go on.
func (d discovery) closing(prune bool) string {
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
		hints = append(hints, "; --force replaces what changed")
	}
	switch {
	case counts[issuing.Stale] > 0 && prune:
		hints = append(hints, "; nothing was removed: add --force to remove what is stale")
	case counts[issuing.Stale] > 0:
		hints = append(hints, "; gatepass app discover --prune --force removes what is stale")
	}
	return strings.Join(parts, ", ") + strings.Join(hints, "")
}

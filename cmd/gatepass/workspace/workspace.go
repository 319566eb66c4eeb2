// Package workspace has the commands of "gatepass workspace" and "gatepass migrate", which manage
// the tokens of workspaces.
package workspace

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

const workspaceAbout = `A workspace is a sandbox, a job or a dev container. Its profile says which
repositories its tokens open and which refs it may push. Its ledger record in the
store lists its live tokens.

A workspace has one token for each owner of its repositories. It reads them from
the store. gatepass-refresher or "gatepass workspace refresh" replaces them before
they expire; "gatepass workspace destroy" revokes them.`

// lockWait is how long a command waits for another one that holds the workspace.
const lockWait = 2 * time.Minute

// commands are the commands of "gatepass workspace".
type commands struct{ *command.Environment }

// Command is "gatepass workspace".
func Command(env *command.Environment) *cli.Command {
	cmd := commands{env}
	return &cli.Command{
		Name:        "workspace",
		Usage:       "issue, refresh and revoke the tokens of workspaces",
		UsageText:   "gatepass workspace COMMAND [options]",
		Description: workspaceAbout,
		Subcommands: []*cli.Command{
			cmd.createCommand(),
			cmd.listCommand(),
			cmd.showCommand(),
			cmd.refreshCommand(),
			cmd.destroyCommand(),
			cmd.joinTokenCommand(),
		},
	}
}

// adoptFlag is the option of commands that may find another system's tokens.
func adoptFlag() cli.Flag {
	return &cli.BoolFlag{Name: "adopt", Usage: "replace and revoke a live token that gatepass did not write"}
}

// stoppedFlag is the option with which the user says that the other system is stopped.
func stoppedFlag() cli.Flag {
	return &cli.BoolFlag{Name: "stopped", Usage: "the other system is stopped: also take over from it where its token is younger than 47 minutes", DisableDefaultText: true}
}

// issuer opens the store of the command line and the App in it.
func (cmd commands) issuer(c *cli.Context) (*workspace.Issuer, *issuing.App, error) {
	github, err := cmd.GitHub(c)
	if err != nil {
		return nil, nil, err
	}
	s, err := cmd.Store(c)
	if err != nil {
		return nil, nil, err
	}
	i, app, err := issuing.NewIssuer(c.Context, s, github)
	if err != nil {
		return nil, nil, err
	}
	i.LockWait = lockWait
	i.Audit = cmd.progress
	i.Adopt = c.Bool("adopt")
	i.OnWait = func(id string) { cmd.Note("another run works on workspace " + id + "; waiting for it") }
	return i, app, nil
}

// progress prints on a terminal what has been done so far: a workspace may have many
// owners, and GitHub may be slow.
func (cmd commands) progress(e workspace.Event) {
	if f, ok := cmd.Stderr.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return
	}
	switch e.Type {
	case workspace.Generated:
		cmd.Note("a token for " + e.Owner + " was minted")
	case workspace.Ended:
		cmd.Note("the token " + shortHash(e.Hash) + " was revoked: " + e.Why)
	}
}

// clock returns the time by GitHub's clock, which the times in the ledger follow. It
// warns if this machine's clock is off.
func (cmd commands) clock(i *workspace.Issuer) time.Time {
	if problem := i.App.ClockProblem(); problem != "" {
		cmd.Note(problem)
	}
	return i.Time()
}

// workspaceID returns the command's only argument.
func workspaceID(c *cli.Context) (string, error) {
	switch {
	case c.NArg() == 0:
		return "", command.Usage(c, "the workspace's ID is missing")
	case c.NArg() > 1:
		return "", command.Usage(c, "name one workspace at a time")
	}
	id := c.Args().First()
	if err := store.CheckWorkspace(id); err != nil {
		return "", command.Usage(c, err.Error())
	}
	return id, nil
}

// unknownWorkspace says what to do if there is no such workspace.
func unknownWorkspace(ctx context.Context, i *workspace.Issuer, id string, err error) error {
	if _, loadErr := i.Load(ctx, id); isNotFound(loadErr) && isNotFound(err) {
		return usererr.New("workspace "+id, "there is no such workspace", "list them: gatepass workspace list")
	}
	return err
}

const refreshAbout = `Does for one workspace what gatepass-refresher does for all: replaces tokens that
expire soon, revokes replaced tokens after twenty minutes, and finishes an
interrupted command. --force replaces all its tokens now; --revoke revokes the
replaced tokens at once.

The exit code is 1 if an owner has no fresh token; the error names the owner.`

func (cmd commands) refreshCommand() *cli.Command {
	return &cli.Command{
		Name:        "refresh",
		Usage:       "replace tokens that expire soon, and finish an interrupted command",
		UsageText:   "gatepass workspace refresh ID [--force] [--revoke] [--adopt [--stopped]] [--json]",
		Description: refreshAbout,
		Flags: command.IssuingFlags(
			&cli.BoolFlag{Name: "force", Usage: "replace every token now"},
			&cli.BoolFlag{Name: "revoke", Usage: "revoke replaced tokens at once"},
			adoptFlag(), stoppedFlag(),
		),
		Action: cmd.refresh,
	}
}

func (cmd commands) refresh(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	i, _, err := cmd.issuer(c)
	if err != nil {
		return err
	}
	if err := cmd.mayAdopt(c, i, id); err != nil {
		return err
	}
	if c.Bool("revoke") {
		i.Grace = -1
	}
	ending := newDestroyReport(id, i) // in case an earlier destruction was begun
	did := 0
	tell := i.Audit
	i.Audit = func(e workspace.Event) { did++; tell(e) }
	stop := cmd.Wait("GitHub and the store, for new tokens")
	r, problem := i.Refresh(c.Context, id, c.Bool("force"))
	stop()
	if r == nil {
		return unknownWorkspace(c.Context, i, id, problem)
	}
	now := cmd.clock(i)
	if problem == nil && r.Destroying {
		ending.now = now
		return cmd.printDestroyed(c, ending, r.Lost(now), nil)
	}
	problem = incomplete(r, now, problem)
	report := newReport(r, now, problem)
	report.NothingDue = did == 0 && problem == nil
	if c.Bool("json") {
		err = command.WriteJSON(cmd.Stdout, report)
	} else {
		err = printWorkspace(cmd.Stdout, cmd.Screen(), report)
	}
	return usererr.Join(problem, err)
}

const destroyAbout = `Revokes every token of the workspace, deletes its entries in the store, and checks
that none is left. You can run it again at any time; without such a workspace it
succeeds.`

func (cmd commands) destroyCommand() *cli.Command {
	return &cli.Command{
		Name:        "destroy",
		Usage:       "revoke a workspace's tokens and delete it",
		UsageText:   "gatepass workspace destroy ID [--json]",
		Description: destroyAbout,
		Flags:       command.IssuingFlags(),
		Action:      cmd.destroy,
	}
}

func (cmd commands) destroy(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	i, _, err := cmd.issuer(c)
	if err != nil {
		return err
	}
	report := newDestroyReport(id, i)
	stop := cmd.Wait("GitHub and the store, where the workspace's tokens are revoked and deleted")
	lost, problem := i.Destroy(c.Context, id)
	stop()
	report.now = cmd.clock(i)
	return cmd.printDestroyed(c, report, lost, problem)
}

// DestroyReport is the JSON of "workspace destroy".
type DestroyReport struct {
	Workspace string        `json:"workspace"`
	Destroyed bool          `json:"destroyed"`
	Revoked   []string      `json:"revoked"` // hashes
	Lost      []tokenReport `json:"lost"`

	now time.Time
}

// newDestroyReport returns a report that counts what i destroys.
func newDestroyReport(id string, i *workspace.Issuer) *DestroyReport {
	report := &DestroyReport{Workspace: id, Revoked: []string{}, Lost: []tokenReport{}}
	i.Audit = func(e workspace.Event) {
		if e.Type == workspace.Ended {
			report.Revoked = append(report.Revoked, e.Hash)
		}
	}
	return report
}

func (cmd commands) printDestroyed(c *cli.Context, report *DestroyReport, lost []workspace.Token, problem error) error {
	for _, t := range lost {
		report.Lost = append(report.Lost, newTokenReport(t))
	}
	report.Destroyed = problem == nil
	if c.Bool("json") {
		return usererr.Join(problem, command.WriteJSON(cmd.Stdout, report))
	}
	return usererr.Join(problem, printDestroyed(cmd.Stdout, report))
}

func printDestroyed(out io.Writer, r *DestroyReport) error {
	for _, hash := range r.Revoked {
		fmt.Fprintf(out, "revoked %s\n", shortHash(hash))
	}
	for _, t := range r.Lost {
		fmt.Fprintf(out, "a token for %s that no workspace has may be valid; it expires %s at the latest\n", usererr.Escape(t.Owner), left(t.Ends, r.now))
	}
	if !r.Destroyed {
		return nil
	}
	_, err := fmt.Fprintf(out, "workspace %s is destroyed; nothing is left of it\n", r.Workspace)
	return err
}

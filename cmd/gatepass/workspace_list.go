package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
	"github.com/urfave/cli/v2"
)

func (cmd workspaceCommands) list(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	s, err := cmd.store(c)
	if err != nil {
		return err
	}
	now, err := cmd.timeOf(c, s)
	if err != nil {
		return err
	}
	reports := []workspaceReport{}
	var unreadable []error
	var read atomic.Int64
	defer cmd.waitWith(func() string {
		return fmt.Sprintf("the store, which has given %d records so far", read.Load())
	})()
	for found, err := range workspace.Records(c.Context, s) {
		if err != nil {
			return err
		}
		read.Add(1)
		if found.Err != nil {
			unreadable = append(unreadable, found.Err)
			continue
		}
		reports = append(reports, newWorkspaceReport(found.Record, now, nil))
	}
	slices.SortFunc(reports, func(a, b workspaceReport) int { return cmp.Compare(a.Workspace, b.Workspace) })
	switch {
	case c.Bool("json"):
		err = writeJSON(cmd.stdout, reports)
	case len(reports) > 0 || len(unreadable) == 0:
		err = printList(cmd.stdout, cmd.screen(), reports)
	}
	if err != nil {
		return err
	}
	return usererr.Join(unreadable...)
}

// timeOf returns the time by GitHub's clock, which the times in the ledger follow. If
// GitHub does not answer, the list is shown all the same.
func (cmd workspaceCommands) timeOf(c *cli.Context, s store.Store) (time.Time, error) {
	github, err := cmd.github(c)
	if err != nil {
		return time.Time{}, err
	}
	if github, err = issuing.GitHub(c.Context, s, github); err != nil {
		return time.Time{}, err
	}
	api, err := mint.APIURL(github)
	if err != nil {
		return time.Time{}, usererr.Wrap("GitHub at "+github, err, "")
	}
	i := &workspace.Issuer{App: &mint.App{URL: api}, Store: s}
	i.Sync(c.Context)
	return cmd.clock(i), nil
}

func printList(out io.Writer, s screen, reports []workspaceReport) error {
	if len(reports) == 0 {
		_, err := fmt.Fprintln(out, "no workspaces; make one with gatepass workspace create")
		return err
	}
	t := newTable("WORKSPACE", "PROFILE", "STATE", "OWNERS", "ENDS", "AGE")
	for _, r := range reports {
		t.row(r.Workspace, r.Profile, string(r.State), strings.Join(owners(r), ", "), left(r.Ends, r.now), agoOf(r.Created, r.now))
	}
	if _, err := io.WriteString(out, t.text(s)); err != nil {
		return err
	}
	for _, r := range reports {
		if r.LastError == nil {
			continue
		}
		if _, err := fmt.Fprintf(out, "%s failed %s ago: %s\n", r.Workspace, agoOf(r.LastError.At, r.now), usererr.Escape(r.LastError.Why)); err != nil {
			return err
		}
	}
	return nil
}

// owners returns the owners of the tokens that the workspace reads.
func owners(r workspaceReport) []string {
	var logins []string
	for _, t := range r.Tokens {
		if t.State == workspace.Delivered {
			logins = append(logins, usererr.Escape(t.Owner))
		}
	}
	return logins
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// agoOf returns how long ago something was, in the largest unit that fits.
func agoOf(t, now time.Time) string {
	switch d := max(now.Sub(t), 0); {
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d/time.Hour))
	default:
		return fmt.Sprintf("%dd", int(d/(24*time.Hour)))
	}
}

func (cmd workspaceCommands) show(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	i, _, err := cmd.issuer(c)
	if err != nil {
		return err
	}
	stop := cmd.wait("the store")
	r, steps, err := i.Inspect(c.Context, id)
	stop()
	if err != nil {
		return unknownWorkspace(c.Context, i, id, err)
	}
	report := newWorkspaceReport(r, cmd.clock(i), nil)
	for _, s := range steps {
		report.Todo = append(report.Todo, stepReport(s))
	}
	if c.Bool("events") {
		report.Events = r.History
	}
	if c.Bool("json") {
		return writeJSON(cmd.stdout, report)
	}
	if err := printShown(cmd.stdout, cmd.screen(), report); err != nil || !c.Bool("events") {
		return err
	}
	return printEvents(cmd.stdout, cmd.screen(), report.Events)
}

func printEvents(out io.Writer, s screen, events []workspace.PastEvent) error {
	if len(events) == 0 {
		_, err := fmt.Fprintln(out, "  events: none")
		return err
	}
	fmt.Fprintln(out, "  events:")
	t := table{indent: "    "}
	for _, e := range events {
		what := e.What
		if e.Times > 1 {
			what += fmt.Sprintf(", %d times", e.Times)
		}
		t.row(e.At.UTC().Format(time.RFC3339), what, e.Owner, shortHash(e.Hash), e.Why)
	}
	_, err := io.WriteString(out, t.text(s))
	return err
}

func printShown(out io.Writer, s screen, r workspaceReport) error {
	if err := printWorkspace(out, s, r); err != nil {
		return err
	}
	_, err := io.WriteString(out, pairs([][2]string{
		{"profile", dash(r.Profile)},
		{"repositories", dash(strings.Join(r.Repositories, ", "))},
		{"permissions", levels(r.Permissions)},
		{"created", r.Created.UTC().Format(time.RFC3339)},
		{"replaced with", cmp.Or(r.Margin, workspace.DefaultMargin.String()) + " left"},
	}...))
	if err != nil {
		return err
	}
	if err := printLastError(out, r); err != nil {
		return err
	}
	for _, s := range r.Todo {
		fmt.Fprintf(out, "  to do: %s: %s\n", strings.TrimSpace(fmt.Sprintf("%s %s", s.Do, usererr.Escape(s.Owner))), usererr.Escape(s.Why))
	}
	return nil
}

// destroyReport is the JSON of "workspace destroy".
type destroyReport struct {
	Workspace string        `json:"workspace"`
	Destroyed bool          `json:"destroyed"`
	Revoked   []string      `json:"revoked"` // hashes
	Lost      []tokenReport `json:"lost"`

	now time.Time
}

// newDestroyReport returns a report that counts what i destroys.
func newDestroyReport(id string, i *workspace.Issuer) *destroyReport {
	report := &destroyReport{Workspace: id, Revoked: []string{}, Lost: []tokenReport{}}
	i.Audit = func(e workspace.Event) {
		if e.Type == workspace.Ended {
			report.Revoked = append(report.Revoked, e.Hash)
		}
	}
	return report
}

func (cmd workspaceCommands) destroy(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	i, _, err := cmd.issuer(c)
	if err != nil {
		return err
	}
	report := newDestroyReport(id, i)
	stop := cmd.wait("GitHub and the store, where the workspace's tokens are revoked and deleted")
	lost, problem := i.Destroy(c.Context, id)
	stop()
	report.now = cmd.clock(i)
	return cmd.tellDestroyed(c, report, lost, problem)
}

func (cmd workspaceCommands) tellDestroyed(c *cli.Context, report *destroyReport, lost []workspace.Token, problem error) error {
	for _, t := range lost {
		report.Lost = append(report.Lost, newTokenReport(t))
	}
	report.Destroyed = problem == nil
	if c.Bool("json") {
		return usererr.Join(problem, writeJSON(cmd.stdout, report))
	}
	return usererr.Join(problem, printDestroyed(cmd.stdout, report))
}

func printDestroyed(out io.Writer, r *destroyReport) error {
	for _, hash := range r.Revoked {
		fmt.Fprintf(out, "revoked %s\n", shortHash(hash))
	}
	for _, t := range r.Lost {
		fmt.Fprintf(out, "a token for %s may be alive that no workspace has; it ends %s at the latest\n", usererr.Escape(t.Owner), left(t.Ends, r.now))
	}
	if !r.Destroyed {
		return nil
	}
	_, err := fmt.Fprintf(out, "nothing is left of workspace %s\n", r.Workspace)
	return err
}

func (cmd workspaceCommands) refresh(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	i, _, err := cmd.issuer(c)
	if err != nil {
		return err
	}
	if c.Bool("revoke") {
		i.Grace = -1
	}
	ending := newDestroyReport(id, i) // in case an earlier destruction was begun
	did := 0
	tell := i.Audit
	i.Audit = func(e workspace.Event) { did++; tell(e) }
	stop := cmd.wait("GitHub and the store, for new tokens")
	r, problem := i.Refresh(c.Context, id, c.Bool("force"))
	stop()
	if r == nil {
		return unknownWorkspace(c.Context, i, id, problem)
	}
	now := cmd.clock(i)
	if problem == nil && r.Destroying {
		ending.now = now
		return cmd.tellDestroyed(c, ending, r.Lost(now), nil)
	}
	problem = incomplete(r, now, problem)
	report := newWorkspaceReport(r, now, problem)
	report.NothingDue = did == 0 && problem == nil
	if c.Bool("json") {
		err = writeJSON(cmd.stdout, report)
	} else {
		err = printWorkspace(cmd.stdout, cmd.screen(), report)
	}
	return usererr.Join(problem, err)
}

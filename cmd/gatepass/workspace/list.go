package workspace

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
	"github.com/urfave/cli/v2"
)

func (cmd commands) listCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the workspaces and their state",
		UsageText: "gatepass workspace list [--json]",
		Flags:     command.IssuingFlags(),
		Action:    cmd.list,
	}
}

func (cmd commands) list(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	s, err := cmd.Store(c)
	if err != nil {
		return err
	}
	now, err := cmd.timeOf(c, s)
	if err != nil {
		return err
	}
	reports := []Report{}
	var unreadable []error
	var read atomic.Int64
	defer cmd.WaitWith(func() string {
		return fmt.Sprintf("the store, %d records so far", read.Load())
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
		reports = append(reports, newReport(found.Record, now, nil))
	}
	slices.SortFunc(reports, func(a, b Report) int { return cmp.Compare(a.Workspace, b.Workspace) })
	switch {
	case c.Bool("json"):
		err = command.WriteJSON(cmd.Stdout, reports)
	case len(reports) > 0 || len(unreadable) == 0:
		err = printList(cmd.Stdout, cmd.Screen(), reports)
	}
	if err != nil {
		return err
	}
	return usererr.Join(unreadable...)
}

// timeOf returns the time by GitHub's clock, which the times in the ledger follow. If
// GitHub does not answer, the list is shown all the same.
func (cmd commands) timeOf(c *cli.Context, s store.Store) (time.Time, error) {
	github, err := cmd.GitHub(c)
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

func printList(out io.Writer, s command.Screen, reports []Report) error {
	if len(reports) == 0 {
		_, err := fmt.Fprintln(out, "no workspaces; create one: gatepass workspace create")
		return err
	}
	t := command.NewTable("WORKSPACE", "PROFILE", "STATE", "OWNERS", "ENDS", "AGE")
	for _, r := range reports {
		t.Row(r.Workspace, r.Profile, string(r.State), strings.Join(owners(r), ", "), left(r.Ends, r.now), agoOf(r.Created, r.now))
	}
	if _, err := io.WriteString(out, t.Text(s)); err != nil {
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
func owners(r Report) []string {
	var logins []string
	for _, t := range r.Tokens {
		if t.State == workspace.Delivered {
			logins = append(logins, usererr.Escape(t.Owner))
		}
	}
	return logins
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

const showAbout = `Shows a workspace's ledger record: its repositories, permissions, refs and tokens.

--events adds the latest events, the oldest first: tokens that were minted,
delivered, revoked or lost, and failures with their reasons. A repeated failure is
one line with a count. Tokens that a broker vended are in the broker's audit log.`

func (cmd commands) showCommand() *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show a workspace and its tokens",
		UsageText:   "gatepass workspace show ID [--events] [--json]",
		Description: showAbout,
		Flags: command.IssuingFlags(
			&cli.BoolFlag{Name: "events", Usage: "also show the latest events: minted, delivered, revoked, and failures"},
		),
		Action: cmd.show,
	}
}

func (cmd commands) show(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	i, _, err := cmd.issuer(c)
	if err != nil {
		return err
	}
	stop := cmd.Wait("the store")
	r, steps, err := i.Inspect(c.Context, id)
	stop()
	if err != nil {
		return unknownWorkspace(c.Context, i, id, err)
	}
	report := newReport(r, cmd.clock(i), nil)
	for _, s := range steps {
		report.Todo = append(report.Todo, stepReport(s))
	}
	if c.Bool("events") {
		report.Events = r.History
	}
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, report)
	}
	if err := printShown(cmd.Stdout, cmd.Screen(), report); err != nil || !c.Bool("events") {
		return err
	}
	return printEvents(cmd.Stdout, cmd.Screen(), report.Events)
}

func printEvents(out io.Writer, s command.Screen, events []workspace.PastEvent) error {
	if len(events) == 0 {
		_, err := fmt.Fprintln(out, "  events: none")
		return err
	}
	fmt.Fprintln(out, "  events:")
	t := command.Table{Indent: "    "}
	for _, e := range events {
		what := e.What
		if e.Times > 1 {
			what += fmt.Sprintf(", %d times", e.Times)
		}
		t.Row(e.At.UTC().Format(time.RFC3339), what, e.Owner, shortHash(e.Hash), e.Why)
	}
	_, err := io.WriteString(out, t.Text(s))
	return err
}

func printShown(out io.Writer, s command.Screen, r Report) error {
	if err := printWorkspace(out, s, r); err != nil {
		return err
	}
	_, err := io.WriteString(out, command.Pairs([][2]string{
		{"profile", command.Dash(r.Profile)},
		{"repositories", command.Dash(strings.Join(r.Repositories, ", "))},
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

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

// Report is the JSON of a workspace.
type Report struct {
	Workspace    string              `json:"workspace"`
	Profile      string              `json:"profile"`
	State        workspace.Condition `json:"state"`
	Created      time.Time           `json:"created_at"`
	Ends         *time.Time          `json:"expires_at"` // of the token that expires first
	Repositories []string            `json:"allowed_repos"`
	Permissions  map[string]string   `json:"permissions"`
	Margin       string              `json:"ttl_margin,omitempty"`
	Tokens       []tokenReport       `json:"tokens"`
	Todo         []stepReport        `json:"todo,omitempty"`
	Problem      string              `json:"problem,omitempty"`
	// LastError is why the latest run failed, in any of the programs; absent if it did
	// not.
	LastError *workspace.LastError `json:"last_error,omitempty"`
	// Events are the latest events, oldest first; only in "workspace show --events".
	Events     []workspace.PastEvent `json:"events,omitempty"`
	NothingDue bool                  `json:"nothing_due,omitempty"` // only in "workspace refresh"

	now time.Time
}

type tokenReport struct {
	Owner        string            `json:"owner"`
	State        workspace.State   `json:"state"`
	Hash         string            `json:"hashed_token"`
	Ends         *time.Time        `json:"expires_at"`
	Selection    string            `json:"repository_selection,omitempty"`
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
	IsLost       bool              `json:"lost,omitempty"`
	Note         string            `json:"note,omitempty"`
}

type stepReport struct {
	Do    workspace.Action `json:"do"`
	Owner string           `json:"owner,omitempty"`
	Hash  string           `json:"hashed_token,omitempty"`
	Why   string           `json:"why"`
}

func newReport(r *workspace.Record, now time.Time, problem error) Report {
	report := Report{
		Workspace: r.ID, Profile: r.Profile, State: r.Condition(now), Created: r.Created, Ends: moment(r.Soonest()),
		Repositories: []string{}, Permissions: r.Permissions.Levels(), Tokens: []tokenReport{}, LastError: r.LastError, now: now,
	}
	for _, p := range r.Repositories {
		report.Repositories = append(report.Repositories, p.String())
	}
	if r.Margin != 0 {
		report.Margin = r.Margin.String()
	}
	for _, t := range r.Tokens {
		if t.IsAlive(now) || t.State != workspace.Revoked {
			report.Tokens = append(report.Tokens, newTokenReport(t))
		}
	}
	if problem != nil {
		report.Problem = problem.Error()
	}
	return report
}

func newTokenReport(t workspace.Token) tokenReport {
	report := tokenReport{
		Owner: t.Owner, State: t.State, Hash: t.Hash, Ends: moment(t.Expires),
		Repositories: t.Repositories, Permissions: t.Permissions, IsLost: t.Lost, Note: t.Note,
	}
	switch {
	case t.All:
		report.Selection = "all"
	case len(t.Repositories) > 0:
		report.Selection = "selected"
	}
	return report
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// printWorkspace prints a workspace for people.
func printWorkspace(out io.Writer, s command.Screen, r Report) error {
	due := ""
	if r.NothingDue {
		due = "; nothing was due"
	}
	fmt.Fprintf(out, "workspace %s: %s%s\n", r.Workspace, s.Paint(command.Styles[string(r.State)], string(r.State)), due)
	t := command.Table{Indent: "  "}
	for _, token := range r.Tokens {
		t.Row(token.Owner, reach(token), levels(token.Permissions), tokenState(token, r.now), shortHash(token.Hash))
	}
	if _, err := io.WriteString(out, t.Text(s)); err != nil {
		return err
	}
	for _, token := range r.Tokens {
		if token.Note != "" {
			fmt.Fprintf(out, "  note: %s: %s\n", usererr.Escape(token.Owner), usererr.Escape(token.Note))
		}
	}
	return nil
}

// printLastError prints why the latest run failed, and when.
func printLastError(out io.Writer, r Report) error {
	if r.LastError == nil {
		return nil
	}
	of := ""
	if len(r.LastError.Owners) > 0 {
		of = ", for " + strings.Join(r.LastError.Owners, ", ")
	}
	_, err := fmt.Fprintf(out, "  last error: %s ago%s: %s\n", agoOf(r.LastError.At, r.now), usererr.Escape(of), usererr.Escape(r.LastError.Why))
	return err
}

// incomplete returns an error that names the owners without a token, if a run met no
// error but left some without, as when an operator blocked the workspace.
func incomplete(r *workspace.Record, now time.Time, problem error) error {
	missing := r.Missing(now)
	if problem != nil || len(missing) == 0 {
		return problem
	}
	return usererr.New("workspace "+r.ID, "it has no token for "+strings.Join(missing, ", "), "check whether an operator blocked it: gatepass workspace show "+r.ID)
}

// shown is the number of repositories that a line names.
const shown = 3

func reach(t tokenReport) string {
	switch n := len(t.Repositories); {
	case t.Selection == "all":
		return "every repository of the installation"
	case n == 0:
		return "-"
	case n > shown:
		return strings.Join(t.Repositories[:shown], ", ") + fmt.Sprintf(" and %d more", n-shown)
	}
	return strings.Join(t.Repositories, ", ")
}

func levels(permissions map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(permissions)) {
		if name != "metadata" { // every token has metadata
			texts = append(texts, name+": "+permissions[name])
		}
	}
	if len(texts) == 0 {
		return "-"
	}
	return usererr.Escape(strings.Join(texts, ", "))
}

func tokenState(t tokenReport, now time.Time) string {
	switch {
	case t.IsLost:
		return "lost, expires " + left(t.Ends, now)
	case t.State == workspace.Delivered:
		return "expires " + left(t.Ends, now)
	case t.Ends == nil:
		return string(t.State)
	}
	return string(t.State) + ", expires " + left(t.Ends, now)
}

// left returns the time until t, in minutes.
func left(t *time.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	switch d := t.Sub(now); {
	case d <= 0:
		return fmt.Sprintf("%d min ago", int(-d/time.Minute))
	case d < time.Minute:
		return "in less than a minute"
	default:
		return fmt.Sprintf("in %d min", int((d+30*time.Second)/time.Minute))
	}
}

func shortHash(hash string) string {
	if hash == "" {
		return "-"
	}
	return "sha256:" + hash
}

package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
	"github.com/urfave/cli/v2"
)

const createAbout = `Mints a token for each owner of the profile's repositories and delivers it to the
store, where the workspace reads it. Called again, it updates the workspace to the
current profile, and revokes tokens for an earlier profile.

The exit code is 1 if a token is missing. The workspace is created anyway, even if
GitHub cannot be reached, or the App is not set up or not installed yet: the next
refresh mints the missing tokens. With --allow-pending, the exit code is then 0.

--policy-out writes the workspace file with hosts, source, repositories and refs;
the workspace needs it as /etc/gatepass/workspace.yaml.

Examples:
  gatepass workspace create profile.yaml --id sb-1a2b3c --policy-out workspace.yaml
  gatepass workspace create profile.yaml --id ci-42 --ttl-margin 30m`

func (cmd commands) createCommand() *cli.Command {
	return &cli.Command{
		Name:        "create",
		Usage:       "create a workspace from a profile, or update it to the current profile",
		UsageText:   "gatepass workspace create PROFILE --id ID [--dry-run] [--allow-pending] [--adopt [--stopped]] [--ttl-margin D] [--policy-out FILE] [--json]",
		Description: createAbout,
		Flags: command.IssuingFlags(
			&cli.StringFlag{Name: "id", Usage: "the workspace's `ID`: letters, digits, dots, hyphens and underscores"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show the tokens and refs that it would get; mint and write nothing", DisableDefaultText: true},
			&cli.BoolFlag{Name: "allow-pending", Usage: "exit 0 even if a token is missing; the next refresh mints it"},
			&cli.BoolFlag{Name: "require-token", Usage: "exit 1 if a token is missing (the default)"},
			adoptFlag(), stoppedFlag(),
			&cli.DurationFlag{Name: "ttl-margin", Usage: "replace a token when less than this `TIME` is left", DefaultText: "20m"},
			&cli.StringFlag{Name: "policy-out", Usage: "write the workspace file to `FILE`; - for standard output", TakesFile: true},
			&cli.StringFlag{Name: "source", Usage: "the source `URL` in the workspace file, instead of the store's"},
		),
		Action: cmd.create,
	}
}

func (cmd commands) create(c *cli.Context) error {
	id, err := checkCreate(c)
	if err != nil {
		return err
	}
	p, err := profile.Load(c.Args().First())
	if err != nil {
		return err
	}
	for _, warning := range p.Warnings {
		cmd.Note(warning)
	}
	i, app, err := cmd.issuer(c)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return cmd.preview(c, i, id, p)
	}
	if err := cmd.mayAdopt(c, i, id); err != nil {
		return err
	}
	policy, err := cmd.policyFile(c, id, p, app.GitHub)
	if err != nil {
		return err
	}
	stop := cmd.Wait("GitHub and the store, for new tokens")
	r, problem := i.Create(c.Context, id, p, c.Duration("ttl-margin"))
	stop()
	if r == nil || r.Destroying || problem != nil && !isWritten(c, i, r) {
		return problem
	}
	if err := writePolicy(cmd.Stdout, c.String("policy-out"), policy); err != nil {
		return err
	}
	now := cmd.clock(i)
	problem = incomplete(r, now, problem)
	if err := cmd.printCreated(c, newReport(r, now, problem)); err != nil {
		return err
	}
	return cmd.excuse(c, id, problem)
}

func checkCreate(c *cli.Context) (string, error) {
	switch {
	case c.NArg() == 0:
		return "", command.Usage(c, "the profile's file is missing")
	case c.NArg() > 1:
		return "", command.Usage(c, "name one profile at a time")
	case c.String("id") == "":
		return "", command.Usage(c, "--id is missing")
	case c.Bool("require-token") && c.Bool("allow-pending"):
		return "", command.Usage(c, "--require-token cannot be combined with --allow-pending")
	case c.Bool("dry-run") && c.String("policy-out") != "":
		return "", command.Usage(c, "--dry-run cannot be combined with --policy-out")
	case c.String("policy-out") == "-" && c.Bool("json"):
		return "", command.Usage(c, "--policy-out - cannot be combined with --json: both write to standard output")
	}
	if c.IsSet("ttl-margin") {
		if err := workspace.CheckMargin(c.Duration("ttl-margin")); err != nil {
			return "", command.Usage(c, "--ttl-margin: "+err.Error())
		}
	}
	if err := store.CheckWorkspace(c.String("id")); err != nil {
		return "", command.Usage(c, "--id: "+err.Error())
	}
	return c.String("id"), nil
}

// isWritten reports whether the ledger has the workspace, so that the next refresh
// repairs it.
func isWritten(c *cli.Context, i *workspace.Issuer, r *workspace.Record) bool {
	_, err := i.Load(c.Context, r.ID)
	return err == nil
}

// excuse returns the error for a workspace that was created without a token. With
// --allow-pending it is a warning.
func (cmd commands) excuse(c *cli.Context, id string, problem error) error {
	if problem == nil {
		return nil
	}
	if !errors.Is(problem, workspace.ErrForeign) {
		problem = fmt.Errorf("workspace %s is created, but a token is missing; the next refresh mints it: %w", id, problem)
	}
	if c.Bool("allow-pending") {
		cmd.Note(problem.Error())
		return nil
	}
	return problem
}

// policyFile returns the text of the workspace file. It is made before any token is
// minted, so that a mistake in it has no effect.
func (cmd commands) policyFile(c *cli.Context, id string, p *profile.Profile, github string) ([]byte, error) {
	if c.String("policy-out") == "" {
		return nil, nil
	}
	const what = "create the workspace file"
	u, err := url.Parse(github)
	if err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	d := config.Draft{Workspace: id, Hosts: []string{u.Host}, Source: c.String("source"), Refs: p.RefsOf(id)}
	for _, r := range p.Repositories {
		d.Repos = append(d.Repos, r.Names())
	}
	if d.Source == "" {
		// Without a source, the user would not be told that no repository is allowed.
		d.Source, err = cmd.source(c, p)
		if err != nil && p.HasAccess() {
			return nil, err
		}
	}
	text, err := d.Encode()
	if err != nil {
		return nil, usererr.Wrap(what, err, "correct --source, or the profile")
	}
	return text, nil
}

// source returns the source from which a workspace of that profile reads its tokens.
func (cmd commands) source(c *cli.Context, p *profile.Profile) (string, error) {
	storeURL, err := issuing.StoreURL(c.String("store"), cmd.Getenv)
	if err != nil {
		return "", err
	}
	return issuing.Source(storeURL, hasOneOwner(p.Repositories))
}

// hasOneOwner reports whether all patterns are of one owner, so that there is a single
// token whatever is installed.
func hasOneOwner(patterns []mint.Pattern) bool {
	for _, p := range patterns {
		if p.Everything() || p.Owner() != patterns[0].Owner() {
			return false
		}
	}
	return true
}

// writePolicy replaces the workspace file atomically. It holds no secret, and everyone
// in the workspace may read it.
func writePolicy(out io.Writer, path string, text []byte) error {
	switch path {
	case "":
		return nil
	case "-":
		_, err := io.Copy(out, bytes.NewReader(text))
		return err
	}
	what := "write the workspace file " + path
	f, err := os.CreateTemp(filepath.Dir(path), ".gatepass-*")
	if err != nil {
		return usererr.Wrap(what, err, "")
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	for _, next := range []func() error{func() error { return f.Chmod(0o644) }, f.Sync, f.Close} {
		if nextErr := next(); err == nil {
			err = nextErr
		}
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return usererr.Wrap(what, err, "")
	}
	return nil
}

func (cmd commands) printCreated(c *cli.Context, report Report) error {
	report.Tokens = slices.DeleteFunc(report.Tokens, func(t tokenReport) bool { return t.State == workspace.Superseded })
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, report)
	}
	out, on := cmd.Stdout, cmd.Screen()
	if c.String("policy-out") == "-" {
		out, on = cmd.Stderr, command.Screen{}
	}
	if err := printWorkspace(out, on, report); err != nil {
		return err
	}
	if path := c.String("policy-out"); path != "" && path != "-" {
		fmt.Fprintf(out, "wrote %s; the workspace needs it as /etc/gatepass/workspace.yaml\n", usererr.Escape(path))
	}
	return nil
}

// A PreviewReport is the JSON of "workspace create --dry-run".
type PreviewReport struct {
	Workspace   string            `json:"workspace"`
	Profile     string            `json:"profile,omitempty"`
	Permissions map[string]string `json:"permissions"`
	Optional    map[string]string `json:"optional_permissions,omitempty"`
	Tokens      []previewToken    `json:"tokens"`
	Refs        []string          `json:"refs"` // what may be pushed
	DryRun      bool              `json:"dry_run"`
}

type previewToken struct {
	Owner        string   `json:"owner"`
	Installation int64    `json:"installation_id,omitempty"` // 0: the store has no installation
	Repositories []string `json:"repositories"`
	Stored       string   `json:"stored"` // below the store's prefix
}

// preview shows what create would do. It mints and writes nothing.
func (cmd commands) preview(c *cli.Context, i *workspace.Issuer, id string, p *profile.Profile) error {
	tokens, err := workspace.Previews(c.Context, i.Store, id, p)
	if err != nil {
		return usererr.Wrap("preview workspace "+id, err, "")
	}
	r := PreviewReport{Workspace: id, Profile: p.Name, Permissions: p.Permissions.Levels(), Optional: p.Optional.Levels(), Tokens: []previewToken{}, Refs: []string{}, DryRun: true}
	for _, t := range tokens {
		shown := previewToken{Owner: t.Owner, Installation: t.Installation, Stored: t.Stored.String()}
		for _, pattern := range t.Patterns {
			shown.Repositories = append(shown.Repositories, pattern.String())
		}
		r.Tokens = append(r.Tokens, shown)
	}
	for _, e := range p.RefsOf(id) {
		r.Refs = append(r.Refs, e.Ref)
	}
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, r)
	}
	_, err = io.WriteString(cmd.Stdout, r.text(cmd.Screen()))
	return err
}

func (r PreviewReport) text(s command.Screen) string {
	var b strings.Builder
	fmt.Fprintf(&b, "workspace %s: nothing was minted or written\n", r.Workspace)
	if len(r.Tokens) == 0 {
		b.WriteString("no token: the profile allows no repository\n")
	} else {
		t := command.NewTable("OWNER", "REPOSITORIES", "PERMISSIONS", "INSTALLATION", "STORED AS")
		for _, token := range r.Tokens {
			installation := command.Number(token.Installation)
			if installation == "" {
				installation = "unknown; create asks GitHub"
			}
			t.Row(token.Owner, strings.Join(token.Repositories, ", "), levels(r.Permissions), installation, token.Stored)
		}
		b.WriteString(t.Text(s))
	}
	if len(r.Refs) == 0 {
		b.WriteString("refs: none; nothing may be pushed\n")
	} else {
		b.WriteString(usererr.Escape("refs: "+strings.Join(r.Refs, ", ")) + "\n")
	}
	return b.String()
}

const joinAbout = `Prints a token for a workspace that has no other identity. A broker of the same
store accepts it once, within --ttl. Write it to a file in the workspace, and set
join_token_file=PATH in its source. The workspace then gets a session, which it
renews as long as the rule exists and the workspace is not blocked.

--rule names the rule with "join: {}" in the broker's configuration. A second use
of the token is refused and recorded in the broker's audit log.

A terminal keeps its output, so there the token is printed only with --show.

Example:
  gatepass workspace join-token sb-1a2b3c --rule agents > /run/sb-1a2b3c/join`

// defaultJoinTTL is enough time for a sandbox to start.
const defaultJoinTTL = 5 * time.Minute

// JoinReport is the JSON of "workspace join-token".
type JoinReport struct {
	Workspace string    `json:"workspace"`
	Rule      string    `json:"rule"`
	ExpiresAt time.Time `json:"expires_at"`
	JoinToken string    `json:"join_token"`
}

func (cmd commands) joinTokenCommand() *cli.Command {
	return &cli.Command{
		Name: "join-token", Usage: "print a token that joins a workspace to a broker, once",
		UsageText: "gatepass workspace join-token ID --rule NAME [--ttl D] [--show] [--json]", Description: joinAbout,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "rule", Usage: "the `NAME` of the broker's rule"},
			&cli.DurationFlag{Name: "ttl", Usage: "how `LONG` it is valid, up to 10m", DefaultText: "5m"},
			&cli.BoolFlag{Name: "show", Usage: "print it to a terminal too", DisableDefaultText: true},
			command.StoreFlag(), command.JSONFlag(),
		},
		Action: cmd.joinToken,
	}
}

func (cmd commands) joinToken(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	ttl := defaultJoinTTL
	if c.IsSet("ttl") {
		ttl = c.Duration("ttl")
	}
	switch {
	case c.String("rule") == "":
		return command.Usage(c, "--rule is missing")
	case ttl <= 0 || ttl > identity.MaxJoinTTL:
		return command.Usage(c, fmt.Sprintf("--ttl must be above 0 and at most %v", identity.MaxJoinTTL))
	}
	if err := identity.CheckJoinRule(c.String("rule")); err != nil {
		return command.Usage(c, "--rule: "+err.Error())
	}
	if command.IsTerminal(cmd.Stdout) && !c.Bool("show") {
		return usererr.New("print the join token", "standard output is a terminal", "write it to a file, pipe it to a program, or add --show")
	}
	s, err := cmd.Store(c)
	if err != nil {
		return err
	}
	now := time.Now()
	token, err := identity.IssueJoinToken(c.Context, s, now, id, c.String("rule"), ttl)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, JoinReport{id, c.String("rule"), now.Add(ttl).UTC().Truncate(time.Second), token.Reveal()})
	}
	_, err = fmt.Fprintln(cmd.Stdout, token.Reveal())
	return err
}

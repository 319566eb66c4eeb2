package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/workspacefile"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

const doctorAbout = `Checks both sides of gatepass and changes nothing.

The workspace side: git's credential helpers in their order, every git on PATH,
whether the push guard runs (in a scratch push that git takes for a push to the
first host; the host is not contacted), what is between git and the hosts, the
policy, the agent, and whether a token can be fetched. The output has the token's
hash only.

The issuing side: whether the store answers and is private, whether GitHub accepts
the App's key, where the App is installed and what is granted there, tokens that
are not refreshed, and remains of workspaces that are gone. No token is minted.

The issuing side is checked if --store or ` + issuing.StoreVariable + ` names a store, or the
default store has an App; the workspace side if there is a workspace file, or no
issuing side. Each failed check names its fix.

--fix removes the remains of workspaces that are gone: it revokes and deletes
tokens, finishes interrupted destroys and removes locks. It asks first, unless
--yes is given.

Examples:
  gatepass doctor            in a clone: check its own configuration too
  gatepass doctor --online   also compare the clock with the hosts' clocks
  gatepass doctor --gateway  also find proxies and load balancers that cut pushes
  gatepass doctor --store 'ssm:///km?region=us-east-1' --fix

The exit code is 1 if a check failed, and 0 if there are only warnings.`

// A doctorCommand is "gatepass doctor".
type doctorCommand struct{ *command.Environment }

func (cmd doctorCommand) command() *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Usage:       "check the configuration, what overrides it, and whether a token can be fetched",
		UsageText:   "gatepass doctor [--side SIDE] [--online] [--gateway] [--fix [--yes]] [--store URL] [--github-url URL] [--timeout DURATION] [--json]",
		Description: doctorAbout,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "side", Usage: "which `SIDE` to check: issuing, workspace or both", DefaultText: "what is set up here"},
			&cli.DurationFlag{
				Name: "timeout", EnvVars: []string{"GATEPASS_DOCTOR_TIMEOUT"}, Usage: "the longest time for the checks, for a slow source or store",
				DefaultText: fmt.Sprintf("%s, the issuing side %s", doctor.DefaultLimit, doctor.IssuingLimit),
			},
			&cli.BoolFlag{Name: "online", Usage: "also ask the configured hosts for the time", DisableDefaultText: true},
			&cli.BoolFlag{Name: "gateway", Usage: "also send requests to the gateway, for about 75 seconds, and say how proxies change them", DisableDefaultText: true},
			&cli.BoolFlag{Name: "fix", Usage: "remove the remains of workspaces that are gone", DisableDefaultText: true},
			&cli.BoolFlag{Name: "yes", Usage: "with --fix, do not ask", DisableDefaultText: true},
			command.StoreFlag(), command.GitHubFlag(), command.JSONFlag(),
		},
		Action: cmd.run,
	}
}

// diagnosis is the JSON of "doctor".
type diagnosis struct {
	OK       bool             `json:"ok"` // no failures
	Failures int              `json:"failures"`
	Warnings int              `json:"warnings"`
	Hint     string           `json:"hint,omitempty"` // what to do first, if nothing is set up
	Findings []doctor.Finding `json:"findings"`
}

func (cmd doctorCommand) run(c *cli.Context) error {
	order, err := cmd.order(c)
	if err != nil {
		return err
	}
	found, err := cmd.checkBoth(c, order)
	if err != nil {
		return err
	}
	d := diagnose(found)
	d.Hint = order.hint
	if c.Bool("json") {
		err = command.WriteJSON(cmd.Stdout, d)
	} else {
		_, err = cmd.Stdout.Write(d.text(marksFor(cmd.Getenv), cmd.Screen()))
	}
	if err != nil || d.OK {
		return err
	}
	return usererr.New("doctor", command.Count(d.Failures, "check")+" failed", "")
}

func diagnose(findings []doctor.Finding) diagnosis {
	d := diagnosis{Findings: findings}
	for _, f := range findings {
		switch f.Level {
		case doctor.Failure:
			d.Failures++
		case doctor.Warning:
			d.Warnings++
		}
	}
	d.OK = d.Failures == 0
	return d
}

// text formats one line for each finding, under the name of its group.
func (d diagnosis) text(marks map[doctor.Level]string, s command.Screen) []byte {
	var b bytes.Buffer
	if d.Hint != "" {
		b.WriteString(d.Hint + "\n")
	}
	group := ""
	for _, f := range d.Findings {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "%s\n", s.Paint(command.Bold, group))
		}
		fmt.Fprintf(&b, "  %s %s", s.Paint(levelStyles[f.Level], marks[f.Level]), usererr.Escape(f.Text))
		if f.Fix != "" {
			fmt.Fprintf(&b, "; fix: %s", usererr.Escape(f.Fix))
		}
		b.WriteByte('\n')
	}
	if d.Failures+d.Warnings == 0 {
		b.WriteString("everything is in order\n")
	} else {
		fmt.Fprintf(&b, "%s, %s\n", command.Count(d.Failures, "failure"), command.Count(d.Warnings, "warning"))
	}
	return b.Bytes()
}

var levelStyles = map[doctor.Level]command.Style{doctor.OK: command.Green, doctor.Warning: command.Yellow, doctor.Failure: command.Red}

// marksFor returns marks that the locale can show. It reads the three variables of
// setlocale(3).
func marksFor(getenv func(string) string) map[doctor.Level]string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		v := strings.ToLower(getenv(name))
		if strings.Contains(v, "utf-8") || strings.Contains(v, "utf8") {
			return map[doctor.Level]string{doctor.OK: "✓", doctor.Warning: "!", doctor.Failure: "✗"}
		}
		if v != "" {
			break
		}
	}
	return map[doctor.Level]string{doctor.OK: "+", doctor.Warning: "!", doctor.Failure: "x"}
}

// The values of --side.
const (
	workspaceSide = "workspace"
	issuingSide   = "issuing"
	bothSides     = "both"
)

// nothingSetUp is the hint if nothing is set up.
const nothingSetUp = "gatepass is not set up here; to use tokens: write " + config.DefaultPath + " and run gatepass install; " +
	"to issue tokens: gatepass app create, or gatepass app add; to try it: gatepass demo"

// An order says what the doctor is to check and fix.
type order struct {
	workspace, issuing bool
	fix                bool
	github             string
	hint               string
}

func (cmd doctorCommand) order(c *cli.Context) (o order, err error) {
	if err := command.NoArguments(c); err != nil {
		return o, err
	}
	if c.IsSet("timeout") && c.Duration("timeout") <= 0 {
		return o, command.Usage(c, "--timeout must be a time such as 5s")
	}
	o.fix = c.Bool("fix")
	switch side := c.String("side"); side {
	case workspaceSide, issuingSide, bothSides:
		o.workspace, o.issuing = side != issuingSide, side != workspaceSide
	case "":
		cmd.chooseSides(c, &o)
	default:
		return o, command.Usage(c, "--side must be issuing, workspace or both")
	}
	switch {
	case c.Bool("yes") && !o.fix:
		return o, command.Usage(c, "--yes needs --fix")
	case o.fix && !o.issuing:
		return o, command.Usage(c, "--fix needs the issuing side")
	case c.Bool("gateway") && !o.workspace:
		return o, command.Usage(c, "--gateway needs the workspace side")
	case o.fix && !c.Bool("yes") && !cmd.CanAsk():
		return o, command.Usage(c, "--fix asks first, but there is no terminal: add --yes")
	case o.issuing:
		o.github, err = cmd.GitHub(c)
	}
	return o, err
}

// chooseSides chooses the sides that are set up here.
func (cmd doctorCommand) chooseSides(c *cli.Context, o *order) {
	isNamed := c.String("store") != "" || cmd.Getenv(issuing.StoreVariable) != ""
	o.issuing = isNamed || o.fix || cmd.hasApp(c.Context)
	_, err := os.Stat(workspacefile.Path(cmd.Getenv))
	hasFile := c.Bool("gateway") || cmd.Getenv(config.PathVariable) != "" || err == nil
	o.workspace = hasFile || !o.issuing
	if !hasFile && !o.issuing {
		o.hint = nothingSetUp
	}
}

// hasApp reports whether the default store has an App, or cannot be read, which is
// worth checking too.
func (cmd doctorCommand) hasApp(ctx context.Context) bool {
	url, err := issuing.DefaultStore(cmd.Getenv)
	if err != nil {
		return false
	}
	s, err := issuing.OpenStore(url)
	if err != nil {
		return false
	}
	kept, err := issuing.StoredNames(ctx, s)
	return len(kept) > 0 || err != nil && !errors.Is(err, store.ErrNotFound)
}

// checkBoth checks the requested sides at the same time, and fixes what may be fixed.
func (cmd doctorCommand) checkBoth(c *cli.Context, o order) ([]doctor.Finding, error) {
	var inside, issued []doctor.Finding
	var insideErr, issuedErr error
	var together sync.WaitGroup
	defer cmd.Wait("the checks of git, the source, the store and GitHub (limited by --timeout)")()
	if o.workspace {
		together.Go(func() { inside, insideErr = cmd.checkWorkspace(c) })
	}
	if o.issuing {
		issued, issuedErr = cmd.checkIssuing(c, o)
	}
	together.Wait()
	return append(inside, issued...), usererr.Join(insideErr, issuedErr)
}

func (cmd doctorCommand) checkWorkspace(c *cli.Context) ([]doctor.Finding, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, usererr.Wrap("find the working directory", err, "change to a directory that exists")
	}
	return doctor.Run(c.Context, doctor.Options{
		Getenv: cmd.Getenv, Environ: os.Environ(), Dir: dir, Online: c.Bool("online"), Proxies: c.Bool("gateway"), Limit: c.Duration("timeout"),
	}), nil
}

func (cmd doctorCommand) checkIssuing(c *cli.Context, o order) ([]doctor.Finding, error) {
	check, err := cmd.checkup(c, o.github)
	if err != nil {
		found := doctor.FromError(doctor.Failure, err, "write one of "+issuing.KnownStores)
		found.Group = "store"
		return []doctor.Finding{found}, nil
	}
	report := check.Look(c.Context)
	if !o.fix {
		return report.All(), nil
	}
	return cmd.fix(c, check, report)
}

// checkup returns a check of the command line's store.
func (cmd doctorCommand) checkup(c *cli.Context, github string) (*doctor.Checkup, error) {
	s, err := cmd.Store(c)
	if err != nil {
		return nil, err
	}
	check := &doctor.Checkup{Store: s, StoreURL: cmd.StoreURL(c), GitHub: github, Limit: c.Duration("timeout")}
	check.AWS, _ = s.(doctor.ParameterStore)
	rawURL, err := issuing.StoreURL(c.String("store"), cmd.Getenv)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		check.Folder = u.Path
	}
	return check, nil
}

// fix removes what may be removed, and returns the findings after that. It first shows
// everything to the user, and asks once.
func (cmd doctorCommand) fix(c *cli.Context, check *doctor.Checkup, report doctor.Report) ([]doctor.Finding, error) {
	things := report.Fixable()
	if len(things) == 0 {
		return report.All(), nil
	}
	if !c.Bool("yes") {
		agreed, err := cmd.agree(c, things)
		if err != nil {
			return nil, err
		}
		if !agreed {
			cmd.Note("nothing was removed")
			return report.All(), nil
		}
	}
	return append(report.Remaining().All(), check.Fix(c.Context, things)...), nil
}

// agree lists the things and asks whether to remove them.
func (cmd doctorCommand) agree(c *cli.Context, things []doctor.Leftover) (bool, error) {
	var b strings.Builder
	for _, t := range things {
		fmt.Fprintf(&b, "  %s: --fix %s\n", usererr.Escape(t.What), usererr.Escape(t.Does))
	}
	if _, err := fmt.Fprint(cmd.Stderr, b.String()); err != nil {
		return false, err
	}
	return cmd.Asking.Confirm(c.Context, "remove "+command.Count(len(things), "thing")+"?")
}

// Package policy has the commands of "gatepass policy" and "gatepass check", which read what may be
// pushed, and find mistakes in configuration files.
package policy

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

const (
	policyAbout = `The policy of a workspace is the list refs in the workspace file:
/etc/gatepass/workspace.yaml, or the file of GATEPASS_CONFIG or --config. The
commands check, explain and export read it.

The policy of a broker is the list callers in its configuration. The commands
lint and test read that.`

	checkAbout = `Decides as the guard does for a push to one of the hosts. A REF without refs/ is a
branch. Without --verb, it checks what a plain push does: create and update a
branch, create a tag. The exit code is 1 if anything would be refused.

Verbs: create, update (fast-forward), force (any other change of a branch),
delete, and move (any change of an existing tag).

Examples:
  gatepass policy check main agent/fix-1
  gatepass policy check refs/tags/v1.2 --verb move
  gatepass policy check main --verb force,delete --json`

	exportAbout = `Prints rulesets for GitHub's REST API that enforce the policy on the server, where
no workspace can bypass it: a JSON list, with separate rulesets for branches and
tags, as GitHub requires. Notes on standard error name the parts of the policy
that rulesets cannot express.

Rulesets apply to everyone who pushes, including people. --bypass exempts an actor:
Team:ID, User:ID, Integration:ID (an App), RepositoryRole:ID (5 is an
administrator), OrganizationAdmin or DeployKey. Do not exempt the App of the
workspaces.

Examples:
  gatepass policy export --format github-ruleset --bypass RepositoryRole:5 >rulesets.json
  jq -c '.[]' rulesets.json | while read -r set; do
      printf '%s' "$set" | gh api repos/OWNER/NAME/rulesets --input -
  done`
)

// commands are the commands of "gatepass policy".
type commands struct{ *command.Environment }

// Command is "gatepass policy".
func Command(env *command.Environment) *cli.Command {
	cmd := commands{env}
	file := func(more ...cli.Flag) []cli.Flag {
		return append([]cli.Flag{&cli.StringFlag{Name: "config", Usage: "the workspace `FILE`", TakesFile: true}}, more...)
	}
	return &cli.Command{
		Name:        "policy",
		Usage:       "say what may be pushed, and why",
		UsageText:   "gatepass policy check REF... | explain | export | lint | test CASES...",
		Description: policyAbout,
		Subcommands: []*cli.Command{
			{
				Name: "check", Usage: "say what the guard would decide, and by which rule",
				UsageText: "gatepass policy check REF... [--verb VERB]... [--config FILE] [--json]", Description: checkAbout,
				Flags: file(
					&cli.StringSliceFlag{Name: "verb", Usage: "`WHAT` the push does to the ref; may be repeated or a list with commas"},
					command.JSONFlag(),
				),
				Action: cmd.check,
			},
			{
				Name: "explain", Usage: "explain each rule in words",
				UsageText: "gatepass policy explain [--config FILE] [--json | --for-agents]",
				Flags: file(
					&cli.BoolFlag{Name: "for-agents", Usage: "print a paragraph for AGENTS.md on what may be pushed", DisableDefaultText: true},
					command.JSONFlag(),
				),
				Action: cmd.explain,
			},
			{
				Name: "export", Usage: "print the policy as rulesets for a server",
				UsageText: "gatepass policy export [--format github-ruleset] [--bypass ACTOR]... [--config FILE]", Description: exportAbout,
				Flags: file(
					&cli.StringFlag{Name: "format", Value: RulesetFormat, Usage: "the `FORMAT` of the output: " + RulesetFormat},
					&cli.StringSliceFlag{Name: "bypass", Usage: "an `ACTOR` that the rulesets exempt; may be repeated"},
					&cli.BoolFlag{Name: "json", Usage: "print JSON (the output is always JSON)", DisableDefaultText: true},
				),
				Action: cmd.export,
			},
			cmd.lintCommand(),
			cmd.testCommand(),
		},
	}
}

// A policy is the effective policy, and the file that it comes from.
type policy struct {
	path      string
	refs      *refs.Policy
	hosts     []string
	elsewhere string
}

// policyOf reads the policy as the guard does. A file named by --config may be a draft
// that belongs to any user.
func policyOf(getenv func(string) string, c *cli.Context) (policy, error) {
	path, err := config.Path(func(name string) string {
		if name == config.PathVariable && c.String("config") != "" {
			return c.String("config")
		}
		return getenv(name)
	})
	if err != nil {
		return policy{}, err
	}
	load := config.Load
	if c.String("config") != "" {
		load = config.LoadDraft
	}
	workspace, err := load(path)
	if err != nil {
		return policy{}, err
	}
	refs, err := refs.Compile(workspace.Refs)
	if err != nil {
		return policy{}, usererr.Wrap("read the workspace file "+path, fold(err), "correct the file")
	}
	return policy{path, refs, workspace.Hosts, workspace.Elsewhere}, nil
}

// fold joins several errors into one line.
func fold(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return usererr.Join(joined.Unwrap()...)
	}
	return err
}

// A verdict is the guard's decision on one update of one ref.
type verdict struct {
	Ref      string   `json:"ref"` // in full
	Verb     string   `json:"verb"`
	Allowed  bool     `json:"allowed"`
	Rule     string   `json:"rule,omitempty"`     // the rule that allows it, as written
	Matching []string `json:"matching,omitempty"` // if refused: the rules for this ref; they do not allow it
	Reason   string   `json:"reason,omitempty"`   // if refused: the guard's line
}

type checkReport struct {
	Config   string    `json:"config"`
	Allowed  bool      `json:"allowed"` // all of them
	Verdicts []verdict `json:"verdicts"`
}

func (cmd commands) check(c *cli.Context) error {
	verbs, err := verbsOf(c)
	if err != nil {
		return err
	}
	if !c.Args().Present() {
		return command.Usage(c, "a ref is missing")
	}
	p, err := policyOf(cmd.Getenv, c)
	if err != nil {
		return err
	}
	report := checkReport{Config: p.path, Allowed: true}
	for _, ref := range c.Args().Slice() {
		report.Verdicts = append(report.Verdicts, p.verdicts(ref, verbs)...)
	}
	for _, v := range report.Verdicts {
		report.Allowed = report.Allowed && v.Allowed
	}
	if c.Bool("json") {
		err = command.WriteJSON(cmd.Stdout, report)
	} else {
		err = report.write(cmd.Stdout, cmd.Screen())
	}
	if err == nil && !report.Allowed {
		return &command.StatusError{Status: command.ExitFailed}
	}
	return err
}

var allVerbs = []refs.Verb{refs.Create, refs.Update, refs.Force, refs.Delete, refs.Move}

func verbsOf(c *cli.Context) ([]refs.Verb, error) {
	var verbs []refs.Verb
	for _, text := range c.StringSlice("verb") {
		verb := refs.Verb(strings.TrimSpace(text))
		if !slices.Contains(allVerbs, verb) {
			return nil, command.Usage(c, fmt.Sprintf("--verb %q must be one of create, update, force, delete, move", text))
		}
		verbs = append(verbs, verb)
	}
	return verbs, nil
}

func isTag(ref string) bool { return strings.HasPrefix(ref, "refs/tags/") }

// plain returns the verbs of a push without --force.
func plain(ref string) []refs.Verb {
	if isTag(ref) {
		return []refs.Verb{refs.Create}
	}
	return []refs.Verb{refs.Create, refs.Update}
}

// verdicts returns the verdicts on one ref, named as in a policy: without refs/ it is a
// branch.
func (p policy) verdicts(ref string, verbs []refs.Verb) []verdict {
	if !strings.HasPrefix(ref, "refs/") {
		ref = "refs/heads/" + ref
	}
	if len(verbs) == 0 {
		verbs = plain(ref)
	}
	var verdicts []verdict
	for _, verb := range verbs {
		verdicts = append(verdicts, p.verdict(ref, verb))
	}
	return verdicts
}

func (p policy) verdict(ref string, verb refs.Verb) verdict {
	v := verdict{Ref: ref, Verb: string(verb)}
	if err := possible(ref, verb); err != nil {
		v.Reason = err.Error()
		return v
	}
	rule, err := p.refs.Check(ref, verb)
	if err == nil {
		v.Allowed, v.Rule = true, rule.String()
		return v
	}
	v.Reason = err.Error()
	if denied, ok := errors.AsType[*refs.DeniedError](err); ok {
		for _, r := range denied.Matching {
			v.Matching = append(v.Matching, r.String())
		}
	}
	return v
}

// possible returns an error for an update that no push can make.
func possible(ref string, verb refs.Verb) error {
	switch {
	case refs.CheckRef(ref) != nil:
		return fmt.Errorf("this is not a ref name: %w", refs.CheckRef(ref))
	case verb == refs.Move && !isTag(ref):
		return errors.New("move is only for tags; for a branch, use update or force")
	case isTag(ref) && (verb == refs.Update || verb == refs.Force):
		return errors.New("for any change of an existing tag, use move")
	}
	return nil
}

// write prints a table with a line for each verdict.
func (r checkReport) write(out io.Writer, s command.Screen) error {
	t := command.NewTable("REF", "VERB", "GUARD", "BECAUSE")
	for _, v := range r.Verdicts {
		word := "refuses"
		if v.Allowed {
			word = "allows"
		}
		t.Row(v.Ref, string(v.Verb), word, v.because())
	}
	_, err := io.WriteString(out, t.Text(s))
	return err
}

func (v verdict) because() string {
	switch {
	case v.Allowed:
		return "rule " + v.Rule
	case len(v.Matching) > 0:
		return "not in rule " + strings.Join(v.Matching, ", ")
	case strings.HasPrefix(v.Reason, "push to "):
		return "no rule names it"
	}
	return v.Reason
}

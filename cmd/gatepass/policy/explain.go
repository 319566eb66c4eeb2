package policy

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/hooks/ruleset"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// An explanation is one rule in words.
type explanation struct {
	Ref      string      `json:"ref"`  // as written
	Full     string      `json:"full"` // the full pattern that is matched
	Allow    []refs.Verb `json:"allow"`
	Meaning  string      `json:"meaning"`
	Warnings []string    `json:"warnings"`
}

type policyReport struct {
	Config    string        `json:"config"`
	Hosts     []string      `json:"hosts"`
	Elsewhere string        `json:"elsewhere"` // pushes to other hosts: deny or allow
	Rules     []explanation `json:"rules"`
	Gateway   *gatewayRules `json:"gateway,omitempty"`
}

// gatewayRules are the refs that the gateway allows to be pushed.
type gatewayRules struct {
	URL    string   `json:"url"`
	Refs   []string `json:"refs"`             // as the profile writes them; null if the gateway could not be asked
	Author string   `json:"author,omitempty"` // the author of commits; "" if the gateway does not say
	Error  string   `json:"error,omitempty"`  // why the gateway could not be asked
}

func (cmd commands) explain(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	p, err := policyOf(cmd.Getenv, c)
	if err != nil {
		return err
	}
	report := policyReport{Config: p.path, Hosts: p.hosts, Elsewhere: p.elsewhere, Rules: []explanation{}}
	if report.Gateway, err = cmd.askGateway(c); err != nil {
		return err
	}
	for _, r := range p.refs.Rules() {
		report.Rules = append(report.Rules, explanation{r.Ref, r.Full, r.Verbs(), meaning(r), warnings(r)})
	}
	switch {
	case c.Bool("json") && c.Bool("for-agents"):
		return command.Usage(c, "--json and --for-agents cannot be combined")
	case c.Bool("json"):
		return command.WriteJSON(cmd.Stdout, report)
	case c.Bool("for-agents"):
		text, err := report.forAgents()
		if err == nil {
			_, err = fmt.Fprint(cmd.Stdout, text)
		}
		return err
	}
	_, err = fmt.Fprint(cmd.Stdout, report)
	return err
}

// askGateway asks the gateway for its rules, which are the ones enforced. It returns
// nil without a gateway, and for a draft. It requests a session, never a token.
func (cmd commands) askGateway(c *cli.Context) (*gatewayRules, error) {
	if c.String("config") != "" {
		return nil, nil
	}
	workspace, err := cmd.GatewayWorkspace(c.Context)
	if err != nil || workspace == nil {
		return nil, err
	}
	rules := &gatewayRules{URL: workspace.Gateway.String()}
	grant, err := cmd.RequestSession(c.Context, workspace, "", "")
	if err != nil {
		rules.Error = err.Error()
		return rules, nil
	}
	rules.Refs, rules.Author = grant.Refs, grant.Author
	return rules, nil
}

// String describes what the gateway allows, and how that relates to the workspace file.
func (g *gatewayRules) String() string {
	var b strings.Builder
	switch {
	case g.Error != "":
		fmt.Fprintf(&b, "The gateway %s decides what may be pushed, but it did not answer: %s.\n", g.URL, usererr.Escape(g.Error))
	case len(g.Refs) == 0:
		fmt.Fprintf(&b, "The gateway %s refuses every push of this workspace.\n", g.URL)
	default:
		fmt.Fprintf(&b, "The gateway %s allows this workspace to push:\n\n", g.URL)
		for _, ref := range g.Refs {
			fmt.Fprintf(&b, "  %s\n", usererr.Escape(ref))
		}
	}
	if g.Author != "" {
		fmt.Fprintf(&b, "\nIt sets the author of commits: %s\n", usererr.Escape(g.Author))
	}
	return b.String() + "\nEvery push goes through the gateway. Before that, the guard here checks the workspace file:\n\n"
}

const legend = `
? matches one character and * any number of them, but no slash. ** matches slashes
as well.

A push is allowed if any rule allows it. The guard runs as the user it guards, so
git push --no-verify bypasses it. The token and rulesets on the server enforce
limits (gatepass policy export --format github-ruleset).
`

func (r policyReport) String() string {
	var b strings.Builder
	if r.Gateway != nil {
		b.WriteString(r.Gateway.String())
	}
	if len(r.Rules) == 0 {
		fmt.Fprintf(&b, "%s lists no refs: every push to %s is refused.\n", usererr.Escape(r.Config), strings.Join(r.Hosts, ", "))
		return b.String() + r.others()
	}
	fmt.Fprintf(&b, "Allowed pushes to %s, by %s:\n\n", strings.Join(r.Hosts, ", "), usererr.Escape(r.Config))
	width := 0
	for _, e := range r.Rules {
		width = max(width, len([]rune(usererr.Escape(e.Ref))))
	}
	for _, e := range r.Rules {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, usererr.Escape(e.Ref), usererr.Escape(e.Meaning))
		for _, warning := range e.Warnings {
			fmt.Fprintf(&b, "  %-*s  ! %s\n", width, "", usererr.Escape(warning))
		}
	}
	return b.String() + "\n" + r.others() + legend
}

// others describes what happens to pushes that no rule covers.
func (r policyReport) others() string {
	verb := "refuses"
	if r.Elsewhere == config.ElsewhereAllow {
		verb = "allows"
	}
	return fmt.Sprintf("The guard %s pushes to other hosts (elsewhere: %s), and does not check pushes to a\npath on this machine.\n", verb, r.Elsewhere)
}

// meaning describes a rule, such as "branches release/*: create, fast-forward".
func meaning(r *refs.Rule) string {
	var done []string
	tags := isTag(r.Full)
	for _, v := range r.Verbs() {
		if text := verbText(v, tags); text != "" {
			done = append(done, text)
		}
	}
	if len(done) == 0 {
		return named(r.Full) + ": nothing"
	}
	return named(r.Full) + ": " + strings.Join(done, ", ")
}

// named describes the refs that a full pattern names.
func named(full string) string {
	one := !strings.ContainsAny(full, "*?")
	for _, kind := range []struct{ folder, one, many string }{
		{"refs/heads/", "the branch ", "branches "},
		{"refs/tags/", "the tag ", "tags "},
		{"", "the ref ", "refs "},
	} {
		name, ok := strings.CutPrefix(full, kind.folder)
		switch {
		case ok && one:
			return kind.one + name
		case ok:
			return kind.many + name
		}
	}
	return full
}

// verbText describes what a verb allows; "" if it does not apply.
func verbText(v refs.Verb, tags bool) string {
	switch {
	case v == refs.Create:
		return "create"
	case v == refs.Delete:
		return "delete"
	case v == refs.Update && !tags:
		return "fast-forward"
	case v == refs.Force && !tags:
		return "force to other history"
	case v == refs.Move && tags:
		return "change what it names"
	}
	return ""
}

// warnings are effects of the rule that its reader may not expect.
func warnings(r *refs.Rule) []string {
	list := []string{}
	if wide, stops := acrossSlashes(r.Ref); stops {
		list = append(list, fmt.Sprintf("* stops at a slash: %s does not match %s; %s does", r.Ref, example(r.Ref), wide))
	}
	heads, tags := strings.HasPrefix(r.Full, "refs/heads/"), isTag(r.Full)
	if tags && (slices.Contains(r.Allow, refs.Update) || slices.Contains(r.Allow, refs.Force)) {
		list = append(list, "update and force have no effect for a tag: a change of an existing tag is move")
	}
	if heads && slices.Contains(r.Allow, refs.Move) {
		list = append(list, "move has no effect for a branch: use update or force")
	}
	return list
}

// acrossSlashes returns the pattern with its last single * changed so that it crosses
// slashes. stops is false if there is no *, or a ** crosses them already. Shell
// patterns, which other tools often use for such lists, cross slashes.
func acrossSlashes(pattern string) (wide string, stops bool) {
	if strings.Contains(pattern, "**") {
		return pattern, false
	}
	i := strings.LastIndexByte(pattern, '*')
	if i < 0 {
		return pattern, false
	}
	return pattern[:i] + "*" + pattern[i:], true
}

// example returns a name that the pattern would match if its last * crossed slashes.
func example(pattern string) string {
	i := strings.LastIndexByte(pattern, '*')
	filled := pattern[:i] + "a/b" + pattern[i+1:]
	return strings.NewReplacer("*", "x", "?", "x").Replace(filled)
}

// forAgents returns a paragraph for a file that coding agents read first, such as
// AGENTS.md, so that they know what they may push before a push is refused.
func (r policyReport) forAgents() (string, error) {
	var patterns []string
	by := "The pre-push guard"
	if r.Gateway != nil {
		if r.Gateway.Error != "" {
			return "", usererr.New("say what may be pushed", "the gateway did not answer: "+r.Gateway.Error, "")
		}
		by, patterns = "The git gateway", r.Gateway.Refs
	} else {
		for _, e := range r.Rules {
			patterns = append(patterns, e.Ref)
		}
	}
	var b strings.Builder
	b.WriteString("## Pushing from this workspace\n\n")
	if len(patterns) == 0 {
		return b.String() + by + " refuses every push from here. Do not try to push; hand over your changes in another way.\n", nil
	}
	fmt.Fprintf(&b, "%s allows only pushes to these refs, and refuses a whole push if it contains another ref:\n\n", by)
	for _, p := range patterns {
		fmt.Fprintf(&b, "- `%s`\n", strings.ReplaceAll(usererr.Escape(p), "`", ""))
	}
	if ref := pushable(patterns); ref != "" {
		fmt.Fprintf(&b, "\nPush your work like this: `git push origin HEAD:%s`, and open a pull request from there.", ref)
	}
	b.WriteString("\nDo not change files through GitHub's API instead of a push, and do not look for another token: both are refused as well.\n")
	return b.String(), nil
}

// pushable returns a branch that the patterns allow, trying those with wildcards first;
// "" if it finds none.
func pushable(patterns []string) string {
	inOrder := slices.Clone(patterns)
	slices.SortStableFunc(inOrder, func(a, b string) int { return strings.Count(b, "*") - strings.Count(a, "*") })
	for _, p := range inOrder {
		policy, err := refs.Compile([]refs.Entry{{Ref: p}})
		if err != nil || isTag(policy.Rules()[0].Full) {
			continue
		}
		ref := strings.NewReplacer("**", "work", "*", "work", "?", "x").Replace(policy.Rules()[0].Full)
		if _, err := policy.Check(ref, refs.Create); err == nil {
			return ref
		}
	}
	return ""
}

const RulesetFormat = "github-ruleset"

func (cmd commands) export(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	if format := c.String("format"); format != RulesetFormat {
		return command.Usage(c, fmt.Sprintf("--format %q must be %s", format, RulesetFormat))
	}
	var bypass []ruleset.Actor
	for _, text := range c.StringSlice("bypass") {
		actor, err := ruleset.ParseActor(text)
		if err != nil {
			return command.Usage(c, fmt.Sprintf("--bypass %q: %v", text, err))
		}
		bypass = append(bypass, actor)
	}
	p, err := policyOf(cmd.Getenv, c)
	if err != nil {
		return err
	}
	sets, notes := ruleset.Export(p.refs, bypass...)
	for _, n := range notes {
		_, _ = io.WriteString(cmd.Stderr, "note: "+usererr.Escape(n)+"\n")
	}
	return command.WriteJSON(cmd.Stdout, sets)
}

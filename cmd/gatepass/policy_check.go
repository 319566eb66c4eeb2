package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// A verdict is what the guard would say of one thing done to one ref.
type verdict struct {
	Ref      string   `json:"ref"` // in full
	Verb     string   `json:"verb"`
	Allowed  bool     `json:"allowed"`
	Rule     string   `json:"rule,omitempty"`     // the one that allows it, as written
	Matching []string `json:"matching,omitempty"` // of a refusal: the rules for this ref, none of which allows it
	Reason   string   `json:"reason,omitempty"`   // of a refusal: the guard's line
}

type checkReport struct {
	Config   string    `json:"config"`
	Allowed  bool      `json:"allowed"` // all of them
	Verdicts []verdict `json:"verdicts"`
}

func (w *app) policyCheck(c *cli.Context) error {
	verbs, err := verbsOf(c)
	if err != nil {
		return err
	}
	if !c.Args().Present() {
		return usage(c, "a ref is missing")
	}
	p, err := w.policyOf(c)
	if err != nil {
		return err
	}
	report := checkReport{Config: p.path, Allowed: true}
	for _, ref := range c.Args().Slice() {
		report.Verdicts = append(report.Verdicts, p.judge(ref, verbs)...)
	}
	for _, v := range report.Verdicts {
		report.Allowed = report.Allowed && v.Allowed
	}
	if c.Bool("json") {
		err = writeJSON(w.stdout, report)
	} else {
		err = report.write(w.stdout)
	}
	if err == nil && !report.Allowed {
		return &statusError{status: exitFailed}
	}
	return err
}

var allVerbs = []refs.Verb{refs.Create, refs.Update, refs.Force, refs.Delete, refs.Move}

func verbsOf(c *cli.Context) ([]refs.Verb, error) {
	var verbs []refs.Verb
	for _, text := range c.StringSlice("verb") {
		verb := refs.Verb(strings.TrimSpace(text))
		if !slices.Contains(allVerbs, verb) {
			return nil, usage(c, fmt.Sprintf("--verb %q is none of create, update, force, delete and move", text))
		}
		verbs = append(verbs, verb)
	}
	return verbs, nil
}

func isTag(ref string) bool { return strings.HasPrefix(ref, "refs/tags/") }

// plain is what a push without --force does.
func plain(ref string) []refs.Verb {
	if isTag(ref) {
		return []refs.Verb{refs.Create}
	}
	return []refs.Verb{refs.Create, refs.Update}
}

// judge asks about one ref, named as in a policy: without refs/ it is a branch.
func (p policy) judge(ref string, verbs []refs.Verb) []verdict {
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

// possible returns an error for what no push can do.
func possible(ref string, verb refs.Verb) error {
	switch {
	case refs.CheckRef(ref) != nil:
		return fmt.Errorf("no ref has this name: %w", refs.CheckRef(ref))
	case verb == refs.Move && !isTag(ref):
		return errors.New("only tags are moved; a branch is updated or forced")
	case isTag(ref) && (verb == refs.Update || verb == refs.Force):
		return errors.New("any change of an existing tag is a move")
	}
	return nil
}

// write makes a table, with a line for each verdict.
func (r checkReport) write(out io.Writer) error {
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "REF\tVERB\tGUARD\tBECAUSE")
	for _, v := range r.Verdicts {
		word := "refuses"
		if v.Allowed {
			word = "allows"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", usererr.Escape(v.Ref), v.Verb, word, usererr.Escape(v.because()))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := out.Write(b.Bytes())
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

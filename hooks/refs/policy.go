// Package refs decides what a push may do to the refs of a remote. It does no I/O: the
// guard, profiles, rulesets and the gateway share it.
//
// It parses a push line by line ([ParseUpdates]), classifies every line as one [Verb]
// and checks it against a [Policy] ([Guard]). It refuses what it cannot parse.
package refs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/suggest"
	"go.yaml.in/yaml/v3"
)

// A Rule is one compiled entry of a policy.
type Rule struct {
	Entry          // as written
	Full  string   // the full pattern, "refs/…"
	index int      // its position in the list
	p     *pattern // never nil
	verbs map[Verb]bool
}

// Allows reports whether the rule allows verb on the refs it matches.
func (r *Rule) Allows(verb Verb) bool { return r.verbs[verb] }

// Verbs returns the verbs that the rule allows, in the order written.
func (r *Rule) Verbs() []Verb {
	if r.Allow == nil {
		return []Verb{Create, Update}
	}
	return r.Allow
}

// String returns the pattern as written, followed by its verbs if they were written
// too.
func (r *Rule) String() string {
	if r.Allow == nil {
		return r.Ref
	}
	return r.Ref + " (" + joinVerbs(r.Allow) + ")"
}

// Policy says which remote refs may be pushed and what may be done to them.
// The zero value and nil allow nothing.
//
// Rules add up: a push is allowed if any rule that matches the ref allows the verb.
// Names are compared byte for byte, in full.
type Policy struct {
	rules []*Rule
	exact map[string][]*Rule // rules without wildcards, by full name
	globs []*Rule
}

// Compile compiles the entries of a refs list. Its error reports every bad entry.
func Compile(entries []Entry) (*Policy, error) {
	policy := &Policy{exact: map[string][]*Rule{}}
	var errs []error
	for i, e := range entries {
		rule, err := compileRule(i, e)
		if err != nil {
			errs = append(errs, fmt.Errorf("ref pattern %q: %w", e.Ref, err))
			continue
		}
		policy.add(rule)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return policy, nil
}

func compileRule(index int, e Entry) (*Rule, error) {
	p, err := compilePattern(e.Ref)
	if err != nil {
		return nil, err
	}
	if e.Allow != nil && len(e.Allow) == 0 {
		return nil, errors.New("allow must not be empty")
	}
	rule := &Rule{Entry: e, Full: p.full, index: index, p: p, verbs: map[Verb]bool{}}
	for _, verb := range rule.Verbs() {
		if !slices.Contains(verbs, verb) {
			return nil, errors.New(suggest.Unknown("verb", string(verb), "", texts(verbs)))
		}
		rule.verbs[verb] = true
	}
	return rule, nil
}

func (p *Policy) add(r *Rule) {
	p.rules = append(p.rules, r)
	if r.p.glob == nil {
		p.exact[r.Full] = append(p.exact[r.Full], r)
		return
	}
	p.globs = append(p.globs, r)
}

// Rules returns the rules in the order of the list.
func (p *Policy) Rules() []*Rule {
	if p == nil {
		return nil
	}
	return slices.Clone(p.rules)
}

// Matching returns the rules whose pattern matches the full remote ref, in the order of
// the list. A name that git would refuse matches no rule.
func (p *Policy) Matching(ref string) []*Rule {
	if p == nil || len(p.rules) == 0 || CheckRef(ref) != nil {
		return nil
	}
	matching := slices.Clone(p.exact[ref])
	for _, r := range p.globs {
		if r.p.match(ref) {
			matching = append(matching, r)
		}
	}
	slices.SortFunc(matching, func(a, b *Rule) int { return a.index - b.index })
	return matching
}

// Check reports whether verb is allowed on the full remote ref. It returns the rule
// that allows it, or a [*DeniedError] with the rules that match the ref but do not
// allow the verb.
func (p *Policy) Check(ref string, verb Verb) (*Rule, error) {
	matching := p.Matching(ref)
	if denied := p.decide(matching, RefUpdate{RemoteRef: ref}, verb); denied != nil {
		return nil, denied
	}
	return firstAllowing(matching, verb), nil
}

// decide returns nil if one of the matching rules allows verb.
func (p *Policy) decide(matching []*Rule, u RefUpdate, verb Verb) *DeniedError {
	if firstAllowing(matching, verb) != nil {
		return nil
	}
	denied := &DeniedError{Update: u, Verb: verb, Matching: matching}
	if p != nil {
		denied.Allowed = p.rules
	}
	return denied
}

// firstAllowing returns the first rule that allows verb, or nil.
func firstAllowing(rules []*Rule, verb Verb) *Rule {
	for _, r := range rules {
		if r.Allows(verb) {
			return r
		}
	}
	return nil
}

func joinVerbs(vs []Verb) string { return strings.Join(texts(vs), ", ") }

func texts(vs []Verb) []string {
	texts := make([]string, len(vs))
	for i, v := range vs {
		texts[i] = string(v)
	}
	return texts
}

// A Verb is one thing a push can do to a remote ref.
type Verb string

// The verbs. A push of several refs may need several of them.
const (
	Create Verb = "create" // the ref does not exist yet
	Update Verb = "update" // fast-forward of an existing ref
	Force  Verb = "force"  // any other change of an existing ref, such as a forced push
	Delete Verb = "delete" // the ref is deleted
	Move   Verb = "move"   // an existing tag is changed
)

var verbs = []Verb{Create, Update, Force, Delete, Move}

// An Entry is one line of a refs list: a pattern of remote refs, and what may be done
// to them.
type Entry struct {
	// Ref is a pattern. Without a leading "refs/" it names branches. "*" stays within
	// one path segment, "**" crosses segments.
	Ref string
	// Allow lists what may be done; nil means Create and Update.
	Allow []Verb
}

// UnmarshalYAML reads a plain string, or a mapping {ref: …, allow: […]}. Unknown
// keys, unknown verbs and an empty list are errors with their line number.
func (e *Entry) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return e.setRef(node)
	}
	if node.Kind != yaml.MappingNode {
		return at(node, "a ref must be a pattern or {ref: PATTERN, allow: [VERB, …]}")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if seen[key.Value] {
			return at(key, "%q is given twice", key.Value)
		}
		seen[key.Value] = true
		if err := e.set(key, value); err != nil {
			return err
		}
	}
	if !seen["ref"] {
		return at(node, "this entry has no ref")
	}
	return nil
}

func (e *Entry) set(key, value *yaml.Node) error {
	switch key.Value {
	case "ref":
		return e.setRef(value)
	case "allow":
		return e.setAllow(value)
	default:
		return at(key, "%s", suggest.Unknown("key", key.Value, "", []string{"ref", "allow"}))
	}
}

func (e *Entry) setRef(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode || node.Value == "" || node.Tag == "!!null" {
		return at(node, "a ref pattern must be a string that is not empty")
	}
	e.Ref = node.Value
	return nil
}

func (e *Entry) setAllow(node *yaml.Node) error {
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		return at(node, "allow must be a list of one or more verbs: %s", verbList())
	}
	for _, item := range node.Content {
		verb := Verb(item.Value)
		if item.Kind != yaml.ScalarNode || !slices.Contains(verbs, verb) {
			return at(item, "%s", suggest.Unknown("verb", item.Value, "", texts(verbs)))
		}
		if slices.Contains(e.Allow, verb) {
			return at(item, "verb %q is given twice", item.Value)
		}
		e.Allow = append(e.Allow, verb)
	}
	return nil
}

func verbList() string { return joinVerbs(verbs) }

func at(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d column %d: "+format, append([]any{node.Line, node.Column}, args...)...)
}

// WorkspacePlaceholder is replaced by the workspace's id in the refs of a profile.
const WorkspacePlaceholder = "{workspace}"

// ForWorkspace returns entries with the workspace's id filled in. If the id is not
// valid in a ref name, [Compile] refuses the result.
func ForWorkspace(entries []Entry, workspace string) []Entry {
	filled := slices.Clone(entries)
	for i, e := range filled {
		filled[i].Ref = strings.ReplaceAll(e.Ref, WorkspacePlaceholder, workspace)
	}
	return filled
}

package refs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/suggest"
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
		return nil, errors.New("allow is empty")
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

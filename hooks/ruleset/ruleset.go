// Package ruleset exports a policy about refs as GitHub repository rulesets, so that
// the server enforces it too.
//
// A ruleset forbids, and a policy allows. So each ruleset includes all branches, or all
// tags, and excludes those on which the policy allows what the ruleset forbids. Rules
// with the same exclusions share a ruleset.
package ruleset

import (
	"slices"
	"strings"

	"github.com/gatepass/gatepass/hooks/refs"
)

// A Ruleset is the body of GitHub's "create a repository ruleset",
// POST /repos/{owner}/{repo}/rulesets.
type Ruleset struct {
	Name         string     `json:"name"`
	Target       string     `json:"target"` // "branch" or "tag"
	Enforcement  string     `json:"enforcement"`
	BypassActors []Actor    `json:"bypass_actors"`
	Conditions   Conditions `json:"conditions"`
	Rules        []Rule     `json:"rules"`
}

// Conditions say which refs a ruleset covers.
type Conditions struct {
	RefName RefName `json:"ref_name"`
}

// RefName holds full names and patterns in the syntax of Ruby's File.fnmatch
// with FNM_PATHNAME, or "~ALL".
type RefName struct {
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
}

// A Rule is one thing that a ruleset forbids.
type Rule struct {
	Type string `json:"type"`
}

// An area is a kind of refs for which GitHub has rulesets.
type area struct {
	target, plural string
	folder         string // below refs/
	rules          []forbidden
}

// forbidden is a type of rule, and the verb that it forbids.
type forbidden struct {
	kind string
	verb refs.Verb
}

// areas: every change of a tag is a Move. For a branch, "update" forbids all changes,
// and "non_fast_forward" only forced ones.
var areas = []area{
	{"branch", "branches", "heads", []forbidden{
		{"creation", refs.Create},
		{"update", refs.Update},
		{"non_fast_forward", refs.Force},
		{"deletion", refs.Delete},
	}},
	{"tag", "tags", "tags", []forbidden{
		{"creation", refs.Create},
		{"update", refs.Move},
		{"deletion", refs.Delete},
	}},
}

// Export returns the rulesets that enforce p, and notes for a person about what they
// cannot express. On branches and tags, the rulesets allow nothing that p refuses. The
// nil policy forbids everything.
func Export(p *refs.Policy, bypass ...Actor) (sets []Ruleset, notes []string) {
	for _, a := range areas {
		sets = append(sets, a.export(p, append([]Actor{}, bypass...))...)
	}
	for _, r := range p.Rules() {
		notes = append(notes, unsaid(r)...)
	}
	return sets, append(notes, general...)
}

// export combines rules that exclude the same refs in one ruleset.
func (a area) export(p *refs.Policy, bypass []Actor) []Ruleset {
	var sets []Ruleset
	for _, f := range a.rules {
		exclude := a.allowing(p, f.verb)
		i := slices.IndexFunc(sets, func(s Ruleset) bool { return slices.Equal(s.Conditions.RefName.Exclude, exclude) })
		if i < 0 {
			i = len(sets)
			sets = append(sets, Ruleset{
				Target: a.target, Enforcement: "active", BypassActors: bypass,
				Conditions: Conditions{RefName{Include: []string{"~ALL"}, Exclude: exclude}},
			})
		}
		sets[i].Rules = append(sets[i].Rules, Rule{f.kind})
	}
	for i := range sets {
		sets[i].Name = a.name(sets[i].Rules)
	}
	return sets
}

// name differs for each of a policy's rulesets, as GitHub requires.
func (a area) name(rules []Rule) string {
	kinds := make([]string, len(rules))
	for i, r := range rules {
		kinds[i] = r.Type
	}
	return "gatepass " + a.plural + ": " + strings.Join(kinds, ", ")
}

// allowing returns the patterns of this area on which p allows verb. It is never nil:
// GitHub requires a list.
func (a area) allowing(p *refs.Policy, verb refs.Verb) []string {
	exclude := []string{}
	for _, r := range p.Rules() {
		if !r.Allows(verb) {
			continue
		}
		for _, pattern := range patterns(r.Full, a.folder) {
			if !slices.Contains(exclude, pattern) {
				exclude = append(exclude, pattern)
			}
		}
	}
	return exclude
}

// Package ruleset says a policy about refs in the words of GitHub's repository
// rulesets, so that the server holds it too.
//
// A ruleset forbids, and a policy allows. So each one takes in all branches, or
// all tags, and leaves out those on which the policy allows what it forbids;
// what the policy allows on the same refs shares a ruleset.
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

// Conditions says which refs a ruleset is about.
type Conditions struct {
	RefName RefName `json:"ref_name"`
}

// RefName holds full names and patterns in the syntax of Ruby's File.fnmatch
// with FNM_PATHNAME, or "~ALL".
type RefName struct {
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
}

// A Rule is one thing that nobody may do.
type Rule struct {
	Type string `json:"type"`
}

// An area is a kind of refs that GitHub has rulesets for.
type area struct {
	target, plural string
	folder         string // below refs/
	rules          []forbidden
}

// forbidden is a kind of rule, and the verb it forbids.
type forbidden struct {
	kind string
	verb refs.Verb
}

// areas: any change of a tag is a Move; of a branch, "update" forbids forced
// changes as well as others, and "non_fast_forward" those alone.
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

// Export returns the rulesets that enforce p, and what they cannot say, each a
// sentence for a person. On branches and tags the rulesets allow nothing that p
// refuses. The nil policy forbids everything.
func Export(p *refs.Policy, bypass ...Actor) (sets []Ruleset, notes []string) {
	for _, a := range areas {
		sets = append(sets, a.export(p, append([]Actor{}, bypass...))...)
	}
	for _, r := range p.Rules() {
		notes = append(notes, unsaid(r)...)
	}
	return sets, append(notes, general...)
}

// export makes one ruleset of the rules that leave out the same refs.
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

// name is different for each of a policy's rulesets, as GitHub wants it.
func (a area) name(rules []Rule) string {
	kinds := make([]string, len(rules))
	for i, r := range rules {
		kinds[i] = r.Type
	}
	return "gatepass " + a.plural + ": " + strings.Join(kinds, ", ")
}

// allowing returns the patterns, of refs in this area, on which p allows verb.
// It is never nil: GitHub wants a list.
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

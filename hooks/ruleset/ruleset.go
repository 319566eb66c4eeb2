// Package ruleset exports a policy about refs as GitHub repository rulesets, so that
// the server enforces it too.
//
// A ruleset forbids, and a policy allows. So each ruleset includes all branches, or all
// tags, and excludes those on which the policy allows what the ruleset forbids. Rules
// with the same exclusions share a ruleset.
package ruleset

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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
		notes = append(notes, notExpressible(r)...)
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

// An Actor is a user, team or app that may bypass a ruleset.
type Actor struct {
	ID   *int64 `json:"actor_id"`
	Type string `json:"actor_type"`
	Mode string `json:"bypass_mode"`
}

// The types of actors: those with an id, and the two without.
var (
	numbered = []string{"Integration", "RepositoryRole", "Team", "User"}
	single   = []string{"OrganizationAdmin", "DeployKey"}
)

// ParseActor parses "TYPE:ID", such as "Team:42", or the bare "OrganizationAdmin" and
// "DeployKey".
func ParseActor(s string) (Actor, error) {
	kind, id, found := strings.Cut(s, ":")
	if !found && slices.Contains(single, kind) {
		return Actor{Type: kind, Mode: "always"}, nil
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 || !slices.Contains(numbered, kind) {
		return Actor{}, errors.New("want TYPE:ID with one of " + strings.Join(numbered, ", ") + ", or one of " + strings.Join(single, ", "))
	}
	return Actor{ID: &n, Type: kind, Mode: "always"}, nil
}

// general are the limits of every export.
var general = []string{
	"the rulesets apply to everyone who pushes to the repository, not to this workspace only; exempt others with --bypass",
	"the rulesets apply to branches and tags only; other refs, such as refs/notes/, depend on the token's permissions only",
}

// notExpressible returns what the rulesets cannot express of r.
func notExpressible(r *refs.Rule) []string {
	branches, tags := patterns(r.Full, "heads"), patterns(r.Full, "tags")
	var notes []string
	note := func(format string, args ...any) {
		notes = append(notes, "rule "+r.Ref+": "+fmt.Sprintf(format, args...))
	}
	switch {
	case cannotConvert(r.Full):
		note("a ruleset cannot have ** as only a part of the first segment; the server refuses refs that the guard allows")
	case len(branches)+len(tags) == 0:
		note("it names neither branches nor tags; it is not exported")
	case !strings.HasPrefix(r.Full, "refs/heads/") && !strings.HasPrefix(r.Full, "refs/tags/"):
		note("only its branches and tags are exported")
	}
	if len(branches) > 0 && r.Allows(refs.Force) && !r.Allows(refs.Update) {
		note("GitHub cannot allow force without update; where no other rule allows update, the server refuses both")
	}
	return notes
}

// cannotConvert reports whether within cannot convert the pattern, or one of the patterns that
// it includes.
func cannotConvert(full string) bool {
	first, rest, more := strings.Cut(strings.TrimPrefix(full, "refs/"), "/")
	if first == "**" {
		return more && cannotConvert("refs/"+rest)
	}
	return strings.Contains(first, "**")
}

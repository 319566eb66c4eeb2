package refs

import (
	"context"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

// A Guard decides on pushes. The zero value denies everything.
type Guard struct {
	Policy *Policy
	// Ancestry distinguishes fast-forwards from other changes. It is called only where
	// the policy allows just one of the two. Nil means that every change is forced.
	Ancestry Ancestry
}

// A Change is a ref's change from one object to another.
type Change struct{ Old, New string }

// Ancestry returns for each change, in order, whether it is a fast-forward.
type Ancestry func(ctx context.Context, changes []Change) []Relation

// A Relation is the result for one change.
type Relation struct {
	FastForward bool
	Unknown     string // why it is unknown; FastForward is then false
}

// Check returns a denial for every update that the policy does not allow, in the given
// order. Without denials the push may proceed.
func (g Guard) Check(ctx context.Context, updates []RefUpdate) []*DeniedError {
	denials := make([]*DeniedError, len(updates))
	var open question
	for i, u := range updates {
		matching := g.Policy.Matching(u.RemoteRef)
		verb, settled := classify(u, matching)
		if !settled {
			open.add(i, matching, Change{u.RemoteOID, u.LocalOID})
			continue
		}
		denials[i] = g.deny(matching, u, verb, "")
	}
	for n, relation := range g.checkAncestry(ctx, open.changes) {
		i, verb := open.index[n], Force
		if relation.FastForward {
			verb = Update
		}
		denials[i] = g.deny(open.matching[n], updates[i], verb, relation.Unknown)
	}
	return compact(denials)
}

// question collects the updates that depend on the history.
type question struct {
	index    []int
	matching [][]*Rule
	changes  []Change
}

func (q *question) add(index int, matching []*Rule, c Change) {
	q.index = append(q.index, index)
	q.matching = append(q.matching, matching)
	q.changes = append(q.changes, c)
}

// classify returns the verb of u. settled is false if u changes a ref and the decision
// depends on the history.
func classify(u RefUpdate, matching []*Rule) (verb Verb, settled bool) {
	switch {
	case u.Deletes():
		return Delete, true
	case u.Creates():
		return Create, true
	case strings.HasPrefix(u.RemoteRef, "refs/tags/"):
		return Move, true
	case u.LocalOID == u.RemoteOID:
		return Update, true
	}
	update, force := firstAllowing(matching, Update) != nil, firstAllowing(matching, Force) != nil
	return Update, update == force
}

func (g Guard) deny(matching []*Rule, u RefUpdate, verb Verb, note string) *DeniedError {
	denied := g.Policy.decide(matching, u, verb)
	if denied != nil {
		denied.Note = note
	}
	return denied
}

func (g Guard) checkAncestry(ctx context.Context, changes []Change) []Relation {
	if len(changes) == 0 {
		return nil
	}
	if g.Ancestry != nil {
		if relations := g.Ancestry(ctx, changes); len(relations) == len(changes) {
			return relations
		}
	}
	return make([]Relation, len(changes)) // without an answer, a change counts as forced
}

func compact(denials []*DeniedError) []*DeniedError {
	var kept []*DeniedError
	for _, d := range denials {
		if d != nil {
			kept = append(kept, d)
		}
	}
	return kept
}

// maxListed is the largest number of patterns that a denial names.
const maxListed = 12

// A DeniedError says why one update of a push is refused. Its text is one line
// without control characters.
type DeniedError struct {
	Update   RefUpdate
	Verb     Verb
	Matching []*Rule // the rules that match the ref; they do not allow Verb
	Allowed  []*Rule // the whole policy
	// Note names another cause, such as a history that could not be read. It may be
	// empty.
	Note string
}

func (e *DeniedError) Error() string {
	return usererr.Escape("push to " + e.Update.RemoteRef + " denied: " + e.Reason() + "; " + e.instead())
}

// Reason says which rule did not allow the update. It may contain any characters.
func (e *DeniedError) Reason() string {
	if e.Note != "" {
		return e.rule() + " (" + e.Note + ")"
	}
	return e.rule()
}

func (e *DeniedError) rule() string {
	if len(e.Matching) == 0 {
		return "no rule allows it (" + string(e.Verb) + ")"
	}
	rules := make([]string, len(e.Matching))
	for i, r := range e.Matching {
		rules[i] = r.Ref + " allows " + joinVerbs(r.Verbs())
	}
	return "this would " + described(e.Verb) + "; rule " + list(rules, " and ")
}

// described returns the verb in the form that follows "this would".
func described(v Verb) string {
	switch v {
	case Create:
		return "create the ref"
	case Update:
		return "update the ref"
	case Force:
		return "force the ref to other history"
	case Delete:
		return "delete the ref"
	case Move:
		return "move an existing tag"
	default:
		return string(v)
	}
}

func (e *DeniedError) instead() string {
	if len(e.Allowed) == 0 {
		return "this workspace may not push anything"
	}
	rules := make([]string, len(e.Allowed))
	for i, r := range e.Allowed {
		rules[i] = r.String()
	}
	return "allowed: " + list(rules, ", ")
}

func list(items []string, separator string) string {
	if len(items) > maxListed {
		items = append(items[:maxListed:maxListed], "…")
	}
	return strings.Join(items, separator)
}

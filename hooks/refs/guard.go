package refs

import (
	"context"
	"strings"
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
	for n, relation := range g.ask(ctx, open.changes) {
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

func (g Guard) ask(ctx context.Context, changes []Change) []Relation {
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

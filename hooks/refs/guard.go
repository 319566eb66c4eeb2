package refs

import (
	"context"
	"strings"
)

// A Guard decides about pushes. The zero value denies everything.
type Guard struct {
	Policy *Policy
	// Ancestry tells fast-forwards from the rest. It is asked only where the
	// policy allows one of the two. Nil means every change is forced.
	Ancestry Ancestry
}

// A Change is a ref that goes from one object to another.
type Change struct{ Old, New string }

// Ancestry says for each change, in order, whether it is a fast-forward.
type Ancestry func(ctx context.Context, changes []Change) []Relation

// A Relation is what is known of a change.
type Relation struct {
	FastForward bool
	Unknown     string // why it could not be told; FastForward is then false
}

// Check returns a denial for every update the policy does not allow, in the
// order given; none means the push may go on.
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

// question collects the updates that need the history.
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

// classify says what u does. It is not settled when u changes a ref and only
// the history can tell whether what it does is allowed.
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
	return make([]Relation, len(changes)) // what is not answered is forced
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

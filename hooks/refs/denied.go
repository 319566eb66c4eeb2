package refs

import (
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

// maxListed is the largest number of patterns that a denial names.
const maxListed = 12

// A DeniedError says why one update of a push is refused. Its text is one line
// without control characters.
type DeniedError struct {
	Update   RefUpdate
	Verb     Verb
	Matching []*Rule // the rules that match the ref, none of which allows Verb
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
		return "nothing may be pushed from here"
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

package workspace

import (
	"errors"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

// ErrForeign reports that a workspace's place for a token holds a live one that
// gatepass did not write. It was left alone, and what else was to do was done.
var ErrForeign = errors.New("the store holds a live token that gatepass did not write")

// withoutLeft parts the steps that are to be done from those that are left.
func withoutLeft(steps []Step) (todo, left []Step) {
	for _, s := range steps {
		if s.Do == Leave {
			left = append(left, s)
		} else {
			todo = append(todo, s)
		}
	}
	return todo, left
}

// foreign is the error for tokens that were left alone; nil for none.
func foreign(id string, left []Step) error {
	var places []string
	for _, s := range left {
		name, err := tokenName(id, s.Owner)
		if err != nil {
			return err
		}
		places = append(places, name.String())
	}
	if len(places) == 0 {
		return nil
	}
	return &usererr.Error{
		Op: "workspace " + id, Err: ErrForeign,
		Reason: ErrForeign.Error() + ", and left it alone: " + strings.Join(places, ", ") + "; another system delivers to the workspace",
		Hint:   "stop that system for it, then: gatepass workspace refresh " + id + " --adopt",
	}
}

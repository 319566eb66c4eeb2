package push

import (
	"context"
	"slices"

	"github.com/gatepass/gatepass/hooks/refs"
)

// A Verdict is what was decided on a request. The zero value refuses.
type Verdict struct {
	Request *Request
	// Reasons says for each command, in order, why it is refused. It is nil where the push
	// is allowed, and has no empty text otherwise: a push is forwarded whole or not at all.
	Reasons []string

	policy  *refs.Policy
	allowed bool
}

// atOnce is how many refs are matched between two looks at the context: there are rules, such
// as "**x*x*/**x*y", that take milliseconds for one name that is made for them.
const atOnce = 100

// other is the reason of the commands that are allowed, in a push that is not.
const other = "another ref in this push is not allowed"

// FastForwards is the ancestry of a gateway that does not look: it takes every change of a
// branch for a fast-forward, since the command list does not say. A forced push is then
// refused by the ruleset of the repository alone (gatepass policy export).
func FastForwards(_ context.Context, changes []refs.Change) []refs.Relation {
	relations := make([]refs.Relation, len(changes))
	for i := range relations {
		relations[i].FastForward = true
	}
	return relations
}

// Decide judges every command of q by the guard's policy, and refuses all of them where one
// is refused. A guard without ancestry takes every change of a branch for a forced one; see
// [FastForwards]. A request without commands is refused: see [Request.IsProbe]. Where ctx ends
// first, the push is refused.
func Decide(ctx context.Context, guard refs.Guard, q *Request) *Verdict {
	switch {
	case q.Objection != "":
		return Refuse(guard.Policy, q, q.Objection)
	case !q.CanReport():
		return Refuse(guard.Policy, q, "the client asks for no report-status, so nobody would learn what became of it")
	}
	reasons := make([]string, len(q.Commands))
	names := namesFor(guard.Policy, q.Commands)
	updates := make([]refs.RefUpdate, 0, len(q.Commands))
	for i, c := range q.Commands {
		if reasons[i] = names.check(c.Ref); reasons[i] == "" {
			updates = append(updates, c.Update())
		}
	}
	denied := map[string]string{} // by ref, of which a request has each once
	for some := range slices.Chunk(updates, atOnce) {
		for _, d := range guard.Check(ctx, some) {
			denied[d.Update.RemoteRef] = d.Reason()
		}
		if ctx.Err() != nil {
			return Refuse(guard.Policy, q, "it took too long to decide on so many refs; push fewer at once")
		}
	}
	for i, c := range q.Commands {
		if why, ok := denied[c.Ref]; ok {
			reasons[i] = why
		}
	}
	return verdict(guard.Policy, q, reasons)
}

// Refuse refuses the whole push for one reason that its refs have nothing to do with, such
// as the size of its pack. The policy is what the answer says is allowed.
func Refuse(policy *refs.Policy, q *Request, reason string) *Verdict {
	reasons := make([]string, len(q.Commands))
	for i := range reasons {
		reasons[i] = reason
	}
	return &Verdict{Request: q, policy: policy, Reasons: reasons}
}

// verdict fills in the reason of the commands that have none, where others do.
func verdict(policy *refs.Policy, q *Request, reasons []string) *Verdict {
	v := &Verdict{Request: q, policy: policy, allowed: len(q.Commands) > 0}
	for _, reason := range reasons {
		if reason != "" {
			v.allowed, v.Reasons = false, reasons
		}
	}
	for i := range v.Reasons {
		if v.Reasons[i] == "" {
			v.Reasons[i] = other
		}
	}
	return v
}

// Allowed reports whether the push may be forwarded.
func (v *Verdict) Allowed() bool { return v.allowed }

// Head returns the head that is forwarded in place of the caller's, in front of the pack.
// It is nil where the push is not allowed.
func (v *Verdict) Head() []byte {
	if !v.allowed {
		return nil
	}
	return v.Request.encode()
}

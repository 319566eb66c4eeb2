package push

import (
	"context"
	"slices"

	"github.com/gatepass/gatepass/hooks/refs"
)

// A Verdict is the decision on a request. The zero value refuses.
type Verdict struct {
	Request *Request
	// Reasons says for each command, in order, why it is refused. If the push is
	// allowed, it is nil. Otherwise no text is empty: a push is forwarded as a whole or
	// not at all.
	Reasons []string

	policy    *refs.Policy
	allowed   bool
	forwarded *Request // replaces Request; nil forwards Request
}

// atOnce is how many refs are matched between two checks of the context. Some rules,
// such as "**x*x*/**x*y", take milliseconds for one name that was made to be slow.
const atOnce = 20

// other is the reason for commands that would be allowed alone.
const other = "another ref in this push is not allowed"

// FastForwards is an ancestry that reports every change of a branch as a fast-forward. The
// command list cannot tell the two apart. With it, only a ruleset of the repository refuses
// a forced push (gatepass policy export).
func FastForwards(_ context.Context, changes []refs.Change) []refs.Relation {
	relations := make([]refs.Relation, len(changes))
	for i := range relations {
		relations[i].FastForward = true
	}
	return relations
}

// Decide checks every command of q against the guard's policy. If it refuses one, it
// refuses all. A guard without ancestry treats every change of a branch as forced; see
// [FastForwards]. Decide also refuses a request without commands (see
// [Request.IsProbe]), and one that is not decided when ctx ends.
func Decide(ctx context.Context, guard refs.Guard, q *Request) *Verdict {
	switch {
	case q.Objection != "":
		return Refuse(guard.Policy, q, q.Objection)
	case !q.CanReport():
		return Refuse(guard.Policy, q, "the client does not request report-status, so its outcome could not be recorded")
	}
	reasons := make([]string, 0, len(q.Commands))
	names := namesFor(guard.Policy, q.Commands)
	for some := range slices.Chunk(q.Commands, atOnce) {
		reasons = append(reasons, check(ctx, guard, names, some)...)
		if ctx.Err() != nil {
			return Refuse(guard.Policy, q, "the push has too many refs to decide in time; push fewer at once")
		}
	}
	return verdict(guard.Policy, q, reasons)
}

// check returns a reason for each command; it is empty for an allowed one.
func check(ctx context.Context, guard refs.Guard, names *names, commands []Command) []string {
	reasons := make([]string, len(commands))
	updates := make([]refs.RefUpdate, 0, len(commands))
	for i, c := range commands {
		if reasons[i] = names.check(c.Ref); reasons[i] == "" {
			updates = append(updates, c.Update())
		}
	}
	denied := map[string]string{} // by ref; a request has each ref once
	for _, d := range guard.Check(ctx, updates) {
		denied[d.Update.RemoteRef] = d.Reason()
	}
	for i, c := range commands {
		if why, ok := denied[c.Ref]; ok {
			reasons[i] = why
		}
	}
	return reasons
}

// Refuse refuses the whole push with one reason for all refs, such as the size of its pack.
// The answer lists the rules of policy as allowed.
func Refuse(policy *refs.Policy, q *Request, reason string) *Verdict {
	reasons := make([]string, len(q.Commands))
	for i := range reasons {
		reasons[i] = reason
	}
	return &Verdict{Request: q, policy: policy, Reasons: reasons}
}

// verdict refuses the push if there is any reason, and fills in the missing ones.
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

// Head returns the head to forward before the pack, instead of the client's. It is nil
// if the push is not allowed.
func (v *Verdict) Head() []byte {
	if !v.allowed {
		return nil
	}
	return v.Forwarded().encode()
}

// Package plan decides what a reconcile of a Token or ClusterToken does. It reads no
// clock and calls no API: the same input gives the same plan.
package plan

import (
	"cmp"
	"slices"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// Hold is how old a new token must be before it replaces a working one: GitHub's
// servers learn of a new token one after the other, so git may be refused for some
// seconds.
const Hold = 10 * time.Second

// Action is a kind of step.
type Action string

// The actions, in the order in which they are done.
const (
	Revoke  Action = "revoke"  // revoke a live token at GitHub
	Remove  Action = "remove"  // delete a Secret of this object
	Deliver Action = "deliver" // write a held token into the Secret, or repair the Secret
	Mint    Action = "mint"    // make a new token; always the last step
	Forget  Action = "forget"  // delete the record, because none of its tokens is alive
)

// A Step is one thing to do. Token and Secret are its objects.
type Step struct {
	Do     Action
	Token  string  // ID of a held token, for Revoke and Deliver
	Secret Ref     // for Remove and Deliver
	Urgent Urgency // for Mint
	Why    string  // for people
}

// Ref names a Secret.
type Ref struct{ Namespace, Name string }

// Urgency orders the mints of one App.
type Urgency int

// The urgencies, most urgent first.
const (
	Expiring Urgency = iota // the token in the Secret ends soon
	New                     // the Secret has no token that works
	Changed                 // the token works, and is to be replaced
)

// A Held token is a token that GitHub made for the object, according to its record.
type Held struct {
	ID      string // credential.ID of the token
	Scope   string // digest of the token's access
	Made    time.Time
	Expires time.Time
}

// A Secret is the observed state of a Secret.
type Secret struct {
	State  State
	Token  string // ID of the held token in it; "" if it holds another text or none
	Intact bool   // data, labels, annotations, type and owner are as they should be
}

// State says which object a Secret belongs to.
type State int

// The states.
const (
	Missing State = iota
	Ours
	Foreign // it belongs to another owner and does not ask to be adopted
)

// A Refusal says why something cannot be done now.
type Refusal struct {
	Reason  string // reason of a condition
	Message string
	// Until is when to try again; zero means after a change of the objects.
	Until time.Time
}

// Verdict is the decision of the policies.
type Verdict int

// The verdicts. The zero value permits no mint.
const (
	Unknown   Verdict = iota // could not be determined; held tokens are kept
	Permitted                // a policy allows everything that is asked for
	Denied                   // no policy allows it; live tokens are revoked
)

// Input is everything that a decision depends on.
type Input struct {
	Now time.Time

	// Gone means that the object is deleted. Suspended is spec.suspend.
	Gone, Suspended bool

	UID    string // spreads refreshes of objects that were made together
	Scope  string // digest of the access of a new token
	Target Ref    // where the Secret belongs

	RefreshInterval time.Duration
	RetryInterval   time.Duration
	MinTTL          time.Duration
	RevokeAfter     time.Duration // how long after its replacement a token is revoked; 0 means never

	Recorded  bool // there is a record, even one without tokens
	Held      []Held
	Secret    Secret    // at Target
	Others    []Ref     // other Secrets that belong to this object
	Delivered time.Time // when the token in the Secret was written; zero if unknown

	Verdict Verdict
	Policy  Refusal // the reason, unless Permitted

	// NoMint says why no token can be minted: the App is missing or not ready.
	NoMint *Refusal
	// NoWrite says why the Secret cannot be written, so that no token is minted either:
	// the spec is wrong, or the namespace is missing or being deleted.
	NoWrite *Refusal
	// Queued says why the mint waits for its turn; nil if it does not wait.
	Queued *Refusal
	// Failed has the latest failure of each action for this spec. A success removes the
	// action.
	Failed map[Action]Refusal
}

// waits reports whether an action failed and must not be retried yet.
func (in Input) waits(do Action) (until time.Time, ok bool) {
	f, failed := in.Failed[do]
	return f.Until, failed && in.Now.Before(f.Until)
}

// A Decision is what to do, what to report and when to plan again.
type Decision struct {
	Steps []Step

	Ready     Condition
	Permitted Condition // empty while suspended, because nothing is asked for
	// Stalled means that only a change of the objects helps.
	Stalled bool

	NextRefresh time.Time // for the token in the Secret; zero without one
	Again       time.Time // when to plan again; zero means that nothing is due
}

// A Condition is a condition's status, reason and message.
type Condition struct {
	Status  Status
	Reason  string
	Message string
}

// Status is the status of a condition, as Kubernetes writes it.
type Status string

// The statuses.
const (
	True           Status = "True"
	False          Status = "False"
	UnknownStatus  Status = "Unknown"
	notYet                = "a token is being minted"
	holdsToken            = "the Secret has a valid token"
	suspendMessage        = "spec.suspend is true: the token is revoked and the Secret removed"
)

// Plan decides what to do. After a Mint the caller must plan again.
func Plan(in Input) Decision {
	p := planner{in: in}
	switch {
	case in.Gone:
		p.revokeAll("the object is deleted")
	case in.Suspended:
		p.revokeAll("the object is suspended")
		p.d.Ready = Condition{False, v1.ReasonSuspended, suspendMessage}
	case in.Verdict == Denied:
		p.revokeAll("no policy allows it any more")
		p.d.Ready = Condition{False, v1.ReasonNotPermitted, in.Policy.Message}
		p.d.Permitted = p.permitted()
		p.d.Stalled = true
	default:
		p.keep()
	}
	return p.d
}

type planner struct {
	in Input
	d  Decision
}

// planAt asks for another plan at a time; the earliest time counts.
func (p *planner) planAt(at time.Time) {
	if p.d.Again.IsZero() || at.Before(p.d.Again) {
		p.d.Again = at
	}
}

// revokeAll revokes every live token, then removes the Secrets, then the record.
func (p *planner) revokeAll(why string) {
	for _, h := range p.live() {
		p.addStep(Step{Do: Revoke, Token: h.ID, Why: why})
	}
	if p.in.Secret.State == Ours {
		p.addStep(Step{Do: Remove, Secret: p.in.Target, Why: why})
	}
	for _, other := range p.in.Others {
		p.addStep(Step{Do: Remove, Secret: other, Why: why})
	}
	if len(p.live()) == 0 && p.in.Recorded {
		p.addStep(Step{Do: Forget, Why: "no token is alive"})
	}
}

// addStep adds a step, or waits if its action failed a moment ago.
func (p *planner) addStep(s Step) bool {
	until, waits := p.in.waits(s.Do)
	if waits {
		p.planAt(until)
		return false
	}
	p.d.Steps = append(p.d.Steps, s)
	return true
}

// live returns the unexpired tokens, newest first.
func (p *planner) live() []Held {
	var live []Held
	for _, h := range p.in.Held {
		if h.Expires.After(p.in.Now) {
			live = append(live, h)
		}
	}
	slices.SortStableFunc(live, func(a, b Held) int {
		return cmp.Or(b.Made.Compare(a.Made), cmp.Compare(a.ID, b.ID))
	})
	return live
}

package plan

import (
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// permitted returns the condition Permitted.
func (p *planner) permitted() Condition {
	switch p.in.Verdict {
	case Permitted:
		return Condition{True, v1.ReasonPermitted, "everything that is requested is allowed"}
	case Denied:
		return Condition{False, v1.ReasonNotPermitted, p.in.Policy.Message}
	}
	return Condition{UnknownStatus, p.in.Policy.Reason, p.in.Policy.Message}
}

// refuse reports why there is no fresh token, and how long the old one works.
func (p *planner) refuse(r Refusal) {
	if used, works := p.inSecret(); works {
		r.Message += "; the token in the Secret is valid until " + used.Expires.UTC().Format(time.RFC3339)
	}
	p.d.Ready = Condition{False, r.Reason, r.Message}
	p.d.Stalled = r.Until.IsZero()
	if !r.Until.IsZero() {
		p.planAt(r.Until)
	}
}

// setReady sets the condition Ready.
func (p *planner) setReady(isDue bool) {
	in := p.in
	_, works := p.inSecret()
	switch {
	case in.NoWrite != nil:
		p.refuse(*in.NoWrite)
	case in.NoMint != nil && (isDue || in.NoMint.Until.IsZero()):
		p.refuse(*in.NoMint)
	case in.Verdict == Unknown && isDue:
		p.refuse(in.Policy)
	case p.failure() != nil:
		p.refuse(*p.failure())
	case works && in.Queued != nil:
		p.d.Ready = Condition{True, v1.ReasonRefreshed, holdsToken + "; its refresh waits: " + in.Queued.Message}
	case works:
		p.d.Ready = Condition{True, v1.ReasonRefreshed, holdsToken}
	case in.Queued != nil:
		p.d.Ready = Condition{UnknownStatus, in.Queued.Reason, "the mint of a token waits: " + in.Queued.Message}
	default:
		p.d.Ready = Condition{UnknownStatus, v1.ReasonProgressing, notYet}
	}
}

// failure returns the failure that the status shows: a failed write of the Secret
// before a failed mint. A write whose answer was lost has not failed if the Secret is
// as it should be.
func (p *planner) failure() *Refusal {
	if f, ok := p.in.Failed[Deliver]; ok && !p.isDelivered() {
		return &f
	}
	if f, ok := p.in.Failed[Mint]; ok {
		return &f
	}
	return nil
}

// isDelivered reports whether the Secret holds the newest token and is intact.
func (p *planner) isDelivered() bool {
	used, works := p.inSecret()
	newest, _ := p.newest()
	return works && used.ID == newest.ID && p.in.Secret.Intact
}

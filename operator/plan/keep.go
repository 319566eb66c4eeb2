package plan

import (
	"hash/fnv"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// keep keeps a Secret with a working token: it repairs, delivers, replaces and cleans
// up.
func (p *planner) keep() {
	in := p.in
	p.d.Permitted = p.permitted()
	newest, ok := p.newest()
	if in.Secret.State == Foreign {
		p.refuse(Refusal{Reason: v1.ReasonSecretConflict, Message: conflict(in.Target), Until: in.Now.Add(in.RetryInterval)})
		return
	}
	if ok && in.NoWrite == nil {
		p.deliver(newest)
	}
	p.cleanUp(newest)
	isDue := !ok || !in.Now.Before(in.refreshAt(newest))
	if used, works := p.inSecret(); works {
		p.d.NextRefresh = in.refreshAt(used)
	}
	p.setReady(isDue)
	if isDue {
		p.mint(ok)
		return
	}
	p.planAt(in.refreshAt(newest))
}

func conflict(target Ref) string {
	return "Secret " + target.Namespace + "/" + target.Name + " exists and belongs to another owner: delete it, choose another secret.name, or have its owner annotate it with " + v1.AnnotationAdopt
}

// newest returns the newest live token that has the access of the current spec.
func (p *planner) newest() (Held, bool) {
	for _, h := range p.live() {
		if h.Scope == p.in.Scope {
			return h, true
		}
	}
	return Held{}, false
}

// inSecret returns the live token that the Secret holds.
func (p *planner) inSecret() (Held, bool) {
	for _, h := range p.live() {
		if h.ID == p.in.Secret.Token && p.in.Secret.State == Ours {
			return h, true
		}
	}
	return Held{}, false
}

// deliver writes the newest token once it is old enough to replace a working one, and
// repairs a Secret that another writer changed.
func (p *planner) deliver(newest Held) {
	step := Step{Do: Deliver, Token: newest.ID, Secret: p.in.Target}
	used, works := p.inSecret()
	switch {
	case works && used.ID == newest.ID && p.in.Secret.Intact:
		return
	case works && used.ID == newest.ID:
		step.Why = "the Secret was changed"
	case works && p.in.Now.Before(newest.Made.Add(Hold)):
		p.planAt(newest.Made.Add(Hold))
		if p.in.Secret.Intact {
			return
		}
		step.Token, step.Why = used.ID, "the Secret was changed"
	default:
		step.Why = "a newer token replaced it"
	}
	p.addStep(step)
}

// cleanUp revokes tokens that are no longer wanted and removes Secrets of former names.
// It takes nothing away until the Secret holds the newest token.
func (p *planner) cleanUp(newest Held) {
	if !p.isDelivered() {
		return
	}
	for _, other := range p.in.Others {
		p.addStep(Step{Do: Remove, Secret: other, Why: "the Secret has another name or namespace now"})
	}
	for _, h := range p.live() {
		switch due := p.revokeAt(h); {
		case h.ID == newest.ID || due.IsZero():
		case p.in.Now.Before(due):
			p.planAt(due)
		default:
			p.addStep(Step{Do: Revoke, Token: h.ID, Why: "another token replaced it"})
		}
	}
}

// revokeAt returns when a replaced token is revoked; zero means never.
func (p *planner) revokeAt(h Held) time.Time {
	switch {
	case h.Scope != p.in.Scope:
		return p.in.Now
	case p.in.RevokeAfter <= 0:
		return time.Time{}
	case p.in.Delivered.IsZero():
		return p.in.Now.Add(p.in.RevokeAfter)
	}
	return p.in.Delivered.Add(p.in.RevokeAfter)
}

// mint asks for a token, unless something prevents it.
func (p *planner) mint(hasToken bool) {
	in := p.in
	for _, r := range []*Refusal{in.NoWrite, in.NoMint, in.unknownPolicy()} {
		if r != nil {
			return
		}
	}
	p.addStep(Step{Do: Mint, Secret: in.Target, Urgent: p.urgency(), Why: why(hasToken, len(p.live()) > 0)})
	if used, works := p.inSecret(); works && p.urgency() == Changed {
		p.planAt(in.endsSoonAt(used)) // if the mint is still queued then, it becomes more urgent
	}
}

func why(hasToken, hasOther bool) string {
	switch {
	case hasToken:
		return "the token is due for its refresh"
	case hasOther:
		return "what the token may do has changed"
	}
	return "there is no token yet"
}

// unknownPolicy returns why the policies cannot be asked.
func (in Input) unknownPolicy() *Refusal {
	if in.Verdict == Permitted {
		return nil
	}
	return &in.Policy
}

// urgency compares the remaining life of the token in the Secret with minTTL. The time
// between is the longest that an App's queue may take.
func (p *planner) urgency() Urgency {
	used, works := p.inSecret()
	switch {
	case !works:
		return New
	case !p.in.Now.Before(p.in.endsSoonAt(used)):
		return Expiring
	}
	return Changed
}

// endsSoonAt returns when the refresh of a token becomes urgent.
func (in Input) endsSoonAt(h Held) time.Time { return h.Expires.Add(-in.MinTTL - Slack) }

// Slack is how long before a token's remaining life reaches minTTL its refresh becomes
// urgent.
const Slack = 5 * time.Minute

// refreshAt returns when a token is replaced: after the refresh interval, but early
// enough that minTTL is left. Objects made at the same moment are spread over a tenth
// of that time.
func (in Input) refreshAt(h Held) time.Time {
	life := min(in.RefreshInterval, h.Expires.Sub(h.Made)-in.MinTTL-Slack)
	life = max(life, time.Minute)
	return h.Made.Add(life - in.jitter(h, life/10))
}

// jitter returns a duration between zero and most that is always the same for one
// token.
func (in Input) jitter(h Held, most time.Duration) time.Duration {
	hash := fnv.New64a()
	hash.Write([]byte(in.UID + h.ID))
	return time.Duration(float64(most) * float64(hash.Sum64()>>11) / (1 << 53))
}

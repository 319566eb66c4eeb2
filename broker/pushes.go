package broker

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/api"
)

// ReasonReported stands where a reason does in the lines of refused pushes: the
// broker decided nothing, and knows of them by the word of a workspace alone.
const ReasonReported = "reported-by-workspace"

// PushLimits bound the refs that one workspace reports in refused pushes: each is
// a line of the audit log. They have nothing to do with what it may ask for.
func PushLimits() Limits { return Limits{Rate: 1, Burst: 2 * api.MaxPushUpdates} }

// refusedPush answers POST /v1/refused-pushes: what the guard of a workspace says
// of a push that it refused. Nothing is decided by it. A workspace that is blocked
// is heard as well: it is given nothing for it, and that it goes on trying is what
// operators want to know. For the same reason a repository that its profile does
// not have is written down as it was said.
func (b *Broker) refusedPush(c *call) error {
	c.r = c.r.WithContext(GivingNothing(c.r.Context()))
	w, err := b.identify(c)
	if err != nil {
		return err
	}
	push, err := readOf(b, c, w, api.RefusedPushCall.MaxSize, api.RefusedPushCall.Read)
	if err != nil {
		return err
	}
	if err := b.pushes.spend(w.ID, len(push.Updates)); err != nil {
		return err // counted and not written down, so that no workspace fills the disk
	}
	for _, e := range pushEntries(b.Now(), w, push) {
		if err := b.Journal.Write(context.WithoutCancel(c.r.Context()), e, false); err != nil {
			return AuditUnavailable(err)
		}
		if b.Pushed != nil {
			b.Pushed(e.Operation)
		}
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// pushEntries are a line for each ref: one for all could be longer than a line
// may be.
func pushEntries(now time.Time, w Workspace, p api.RefusedPush) []Entry {
	entries := make([]Entry, len(p.Updates))
	for i, u := range p.Updates {
		e := requestEntry(now, w, api.TokenRequest{Host: p.Host, Repo: p.Repo, Operation: u.Action})
		e.Kind, e.Decision, e.Reason = KindReported, Refused, ReasonReported
		e.Ref, e.Detail = u.Ref, u.Reason
		entries[i] = e
	}
	return entries
}

// spend takes n of what a workspace may still do, or refuses all of them.
func (l *Limiter) spend(workspace string, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	limits, now := l.Limits(), l.now()
	if limits.Rate <= 0 {
		return nil
	}
	b := l.bucket(workspace, limits, now)
	if lacking := float64(n) - b.left; lacking > 0 {
		wait := time.Duration(lacking / limits.Rate * float64(time.Second))
		return &Refusal{
			Status: http.StatusTooManyRequests, Reason: ReasonLimit, RetryAfter: max(wait, time.Second),
			Detail: fmt.Sprintf("workspace %s reports more than %g refs a second", workspace, limits.Rate),
		}
	}
	b.left -= float64(n)
	return nil
}

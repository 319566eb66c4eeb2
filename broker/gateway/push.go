package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/gateway/push"
	"github.com/gatepass/gatepass/hooks/refs"
)

// A pushing is one push in the gateway.
type pushing struct {
	*request
	from      *body
	in        *bufio.Reader // of from
	watchdog  *watchdog
	q         *push.Request
	verdict   *push.Verdict
	policy    *refs.Policy
	answer    *answer
	waiting   *keepAlive
	forwarded twoPhaseReader // what is forwarded to GitHub
	// verified is nil if no branch of the push needs verification.
	verified *verification
	// mayBeDone means that GitHub got the whole push and did not report the outcome.
	mayBeDone bool
	// mayCome means that GitHub got the whole push and answered with a failure; a
	// quarantine ref may still appear.
	mayCome bool
}

// push answers POST git-receive-pack.
func (rq *request) push() error {
	if err := rq.checkRequest(); err != nil {
		return err
	}
	from, err := newBody(rq.Request, 0)
	if err != nil {
		return err
	}
	ctx, end, err := rq.g.transfers.begin(rq.Context(), rq.caller, rq.route.repo.Owner, rq.settings, rq.g.Access.Broker.Now)
	if err != nil {
		return rq.written(err)
	}
	p := &pushing{request: rq, from: from, in: bufio.NewReaderSize(from, headSize)}
	defer func() {
		rq.transfer.In = from.raw.n.Load()
		end(rq.transfer.In + rq.transfer.Out)
	}()
	if p.q, err = push.ReadRequest(p.in, push.Limits{}); err != nil {
		return rq.written(unreadable(err))
	}
	ctx, dog, done := rq.supervise(ctx)
	defer done()
	p.watchdog, from.watchdog = dog, dog
	rq.w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
	rq.w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	if p.q.IsProbe() {
		return nil
	}
	return p.decide(ctx)
}

func unreadable(err error) *broker.Refusal {
	if clientErr, ok := errors.AsType[*clientError](err); ok {
		return clientErr.refusal()
	}
	r := &broker.Refusal{Status: http.StatusBadRequest, Reason: broker.ReasonRequest, Detail: "the push cannot be read", Err: err}
	if requestErr, ok := errors.AsType[*push.RequestError](err); ok {
		r.Detail = "the push cannot be read: " + requestErr.Why
		if requestErr.TooLarge {
			r.Status = http.StatusRequestEntityTooLarge
		}
	}
	return r
}

// decide forwards an allowed push, and refuses any other.
func (p *pushing) decide(ctx context.Context) (err error) {
	if p.policy, err = p.caller.Refs(); err != nil {
		return p.written(noPolicy(err))
	}
	p.verdict = push.Decide(ctx, refs.Guard{Policy: p.policy, Ancestry: push.FastForwards}, p.q)
	if p.verdict.Allowed() && p.isTooLong() {
		p.verdict = p.refusal(p.tooLong())
	}
	if p.verdict.Allowed() {
		if why := p.plan(); why != "" {
			p.verdict = p.refusal(why)
		}
	}
	if !p.q.CanReport() {
		return p.refuseWithoutReport()
	}
	p.wait()
	defer p.answer.close()
	defer p.waiting.stop()
	if !p.verdict.Allowed() {
		return p.refused(p.record(true, p.entries(broker.Refused, broker.ReasonPermission)...))
	}
	token, err := p.token(ctx, access.Write)
	if err == nil && p.verified != nil {
		defer p.close(ctx)
		err = p.open(ctx, token)
	}
	if err != nil {
		refusal := broker.RefusalOf(err)
		p.verdict = p.refusal(refusal.Detail)
		return p.refused(p.record(true, p.entries(broker.Refused, refusal.Reason)...))
	}
	intent := p.entries(broker.Granted, "")
	for i := range intent {
		p.of(&intent[i], token)
		if p.verified != nil && p.verified.refs[i] != "" {
			intent[i].Detail = "verified through " + p.verified.refs[i]
		}
	}
	if err := p.record(true, intent...); err != nil {
		return p.refused(err)
	}
	return p.forward(ctx, token, intent)
}

// refuseWithoutReport refuses a push of a client that reads no report, because it would
// take a refusal for success.
func (p *pushing) refuseWithoutReport() error {
	return p.written(denied(broker.ReasonRequest, "this client does not request report-status, so it would not show a refusal"))
}

// isTooLong reports whether the pack is known to exceed the limit.
func (p *pushing) isTooLong() bool {
	known := int64(p.in.Buffered())
	if p.from.isPlain() && p.ContentLength >= 0 {
		known = p.ContentLength - p.head()
	}
	return p.settings.MaxPack > 0 && known > p.settings.MaxPack
}

// head returns how many bytes of an uncompressed body came before the pack. It is valid
// until the pack is read.
func (p *pushing) head() int64 { return p.from.raw.n.Load() - int64(p.in.Buffered()) }

func (p *pushing) tooLong() string {
	return fmt.Sprintf("the push is larger than %d bytes; push in smaller steps", p.settings.MaxPack)
}

func (p *pushing) refusal(reason string) *push.Verdict { return push.Refuse(p.policy, p.q, reason) }

// entries returns the audit entries to write before the push is forwarded, one for each
// command.
func (p *pushing) entries(decision, reason string) []broker.Entry {
	entries := make([]broker.Entry, len(p.q.Commands))
	for i, c := range p.q.Commands {
		e := p.entry(broker.KindPush)
		e.Ref, e.Old, e.New, e.Operation, e.Decision, e.Reason = c.Ref, c.Old, c.New, operation(c), decision, reason
		if decision == broker.Refused {
			e.Outcome = broker.OutcomeRefused
			if i < len(p.verdict.Reasons) {
				e.Detail = p.verdict.Reasons[i]
			}
		}
		entries[i] = e
	}
	return entries
}

// operation returns what a command does to its ref, as far as the command shows it.
func operation(c push.Command) string {
	switch u := c.Update(); {
	case u.Deletes():
		return string(refs.Delete)
	case u.Creates():
		return string(refs.Create)
	}
	return string(refs.Update)
}

// drainFactor limits how much of a refused push is read, as a multiple of MaxPack.
const drainFactor = 2

// refused answers with the verdict, after it has read the rest of the push: a client
// that is still sending does not read. auditErr is set if the refusal could not be
// recorded in the audit log.
func (p *pushing) refused(auditErr error) error {
	if auditErr != nil {
		p.verdict = p.refusal(broker.RefusalOf(auditErr).Detail)
	}
	p.transfer.Reason = broker.ReasonPermission
	for range p.q.Commands {
		p.transfer.Outcomes = append(p.transfer.Outcomes, broker.OutcomeRefused)
	}
	p.drain()
	return p.writeVerdict()
}

// drain reads what the client still sends, up to a limit.
func (p *pushing) drain() {
	limit := int64(1) << 40
	if p.settings.MaxPack > 0 {
		limit = drainFactor * p.settings.MaxPack
	}
	p.forwarded.abandon()
	p.from.left, p.from.err = -1, nil
	_, _ = io.CopyN(io.Discard, p.in, limit) // if this fails, the client does not read the answer anyway
}

// writeVerdict writes the verdict as the answer.
func (p *pushing) writeVerdict() error {
	p.waiting.stop()
	p.began = true
	p.w.Header().Set("Gatepass-Decision", "refused; rule="+broker.ReasonPermission) // without effect if keep-alive packets were sent
	if err := p.verdict.Answer(p.answer); err != nil {
		return broken(err)
	}
	p.transfer.Out = p.answer.n
	return nil
}

package gateway

import (
	"io"

	"github.com/gatepass/gatepass/broker"
)

// drainFactor limits how much of a refused push is read: so many times MaxPack.
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
	return p.tell()
}

// drain reads what the client still sends, up to a limit.
func (p *pushing) drain() {
	limit := int64(1) << 40
	if p.settings.MaxPack > 0 {
		limit = drainFactor * p.settings.MaxPack
	}
	p.rest.abandon()
	p.from.left, p.from.err = -1, nil
	_, _ = io.CopyN(io.Discard, p.in, limit) // if this fails, the client does not read the answer anyway
}

// tell writes the verdict as the answer.
func (p *pushing) tell() error {
	p.waiting.stop()
	p.began = true
	p.w.Header().Set("Gatepass-Decision", "refused; rule="+broker.ReasonPermission) // without effect if keep-alive packets were sent
	if err := p.verdict.Answer(p.answer); err != nil {
		return broken(err)
	}
	p.transfer.Out = p.answer.n
	return nil
}

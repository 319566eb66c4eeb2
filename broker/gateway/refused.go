package gateway

import (
	"io"

	"github.com/gatepass/gatepass/broker"
)

// drainFactor bounds what is read of a refused push, in packs of the longest kind.
const drainFactor = 2

// refused answers with the verdict once the rest of the push was read: a client that still
// sends does not read. auditErr is why the audit log does not have the refusal.
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

// drain reads what the client still sends, within bounds.
func (p *pushing) drain() {
	limit := int64(1) << 40
	if p.settings.MaxPack > 0 {
		limit = drainFactor * p.settings.MaxPack
	}
	p.rest.abandon()
	p.from.left, p.from.err = -1, nil
	_, _ = io.CopyN(io.Discard, p.in, limit) // where it breaks off, the client does not read the answer either
}

// tell answers with the verdict.
func (p *pushing) tell() error {
	p.waiting.stop()
	p.began = true
	p.w.Header().Set("Gatepass-Decision", "refused; rule="+broker.ReasonPermission) // too late for a client that was kept waiting
	if err := p.verdict.Answer(p.answer); err != nil {
		return broken(err)
	}
	p.transfer.Out = p.answer.n
	return nil
}

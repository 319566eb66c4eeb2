package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/push"
	"github.com/gatepass/gatepass/credential"
)

// forward sends an allowed push to GitHub, and passes the answer on.
func (p *pushing) forward(ctx context.Context, token *credential.Token, intent []broker.Entry) error {
	if p.verified != nil {
		p.verified.isForwarded = true
	}
	if p.settings.MaxPack > 0 {
		p.from.left = max(0, p.settings.MaxPack-int64(p.in.Buffered()))
	}
	report := push.NewReport(p.verdict.Forwarded())
	err := p.exchange(ctx, token, report)
	outcomes := report.Outcomes()
	if p.verified != nil {
		outcomes = p.completePush(ctx, token, outcomes, err)
	}
	for i, o := range outcomes {
		e := &intent[i]
		e.Time, e.Outcome, e.Detail, e.Bytes = p.g.Access.Broker.Now().UTC(), o.State.String(), o.Reason, p.from.raw.n.Load()
		if err != nil && o.State == push.Unknown && !p.mayBeDone {
			e.Outcome = broker.OutcomeFailed
		}
		if err != nil && e.Detail == "" && !p.verdict.Allowed() {
			e.Detail = p.verdict.Reasons[0]
		}
		e.Reason = report.Class(o)
		p.transfer.Outcomes = append(p.transfer.Outcomes, e.Outcome)
		if o.State == push.Refused {
			p.transfer.Checks = append(p.transfer.Checks, e.Reason)
		}
	}
	if auditErr := p.record(true, intent...); auditErr != nil {
		p.g.Access.Broker.Log.Error("the broker cannot write the outcome of a push to the audit log", "request_id", p.id, "error", auditErr.Error())
	}
	if p.verified != nil && p.verdict.Allowed() {
		return p.writeResults(outcomes, report.Note())
	}
	if err != nil && p.verdict.Allowed() {
		return broken(err)
	}
	if err != nil {
		p.transfer.Reason = broker.ReasonGitHub
		p.drain()
		return p.writeVerdict()
	}
	return nil
}

// exchange sends the push and copies the answer. If it returns an error before it
// passed on anything of GitHub's answer, it has replaced the verdict by the refusal to
// answer with.
func (p *pushing) exchange(ctx context.Context, token *credential.Token, report *push.Report) error {
	response, err := p.post(ctx, token)
	if err != nil {
		p.forwarded.abandon()
		p.mayBeDone = p.from.isComplete
		p.verdict = p.refusal(p.why(err))
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/x-git-receive-pack-result" {
		refusal := notGit()
		if response.StatusCode != http.StatusOK {
			refusal = fromGitHub(response)
			p.forwarded.abandon()
			p.mayCome = response.StatusCode >= http.StatusInternalServerError && p.from.isComplete
		}
		if p.mayCome && p.verified == nil {
			p.mayBeDone = true
			refusal.Detail += "; it has the whole push, so run git fetch to see whether it was accepted"
		}
		p.verdict = p.refusal(refusal.Detail)
		return refusal
	}
	p.mayBeDone = true
	if p.verified != nil {
		return p.readAnswer(response.Body, report)
	}
	p.waiting.stop()
	p.began = true
	err = p.answer.copy(report.WithNote(response.Body), report, p.watchdog)
	p.transfer.Out = p.answer.n
	return err
}

// why returns the reason that the client sees if a push did not reach GitHub, or its
// outcome is unknown.
func (p *pushing) why(err error) string {
	switch {
	case errors.Is(p.from.err, errTooLong):
		return p.tooLong()
	case p.mayBeDone && p.verified != nil && len(p.verified.refs) == len(p.q.Commands):
		return "GitHub received the whole push and did not answer; no branch was moved"
	case p.mayBeDone:
		return "GitHub received the whole push and did not answer, so it may have accepted it; run git fetch to see"
	}
	return broker.RefusalOf(err).Detail
}

// maxRepeatedPush is the largest push, in bytes, that is held in memory to be sent
// again. It is small, because many workspaces may push with one new token.
const maxRepeatedPush = 32 << 10

// post sends the rewritten head, followed by the pack.
func (p *pushing) post(ctx context.Context, token *credential.Token) (*http.Response, error) {
	const media = "application/x-git-receive-pack-"
	head := p.verdict.Head()
	p.forwarded.from = chunkReader{p.in}
	whole := io.MultiReader(bytes.NewReader(head), &p.forwarded)
	f := forward{method: http.MethodPost, path: string(receivePack), accept: media + "result", media: media + "request", length: -1, body: func() io.Reader { return whole }}
	if p.from.isPlain() && p.ContentLength >= 0 {
		f.length = int64(len(head)) + p.ContentLength - p.head()
	}
	if p.isFresh(token) {
		if err := f.buffer(whole, maxRepeatedPush); err != nil {
			return nil, err
		}
		if !f.canRepeat {
			p.warm(ctx, token)
		}
	}
	return p.send(ctx, f, token)
}

// warm waits until GitHub knows a new token. It is for pushes that cannot be sent
// twice.
func (p *pushing) warm(ctx context.Context, token *credential.Token) {
	response, err := p.send(ctx, forward{method: http.MethodGet, path: "info/refs?service=" + string(receivePack), accept: "*/*", canRepeat: true}, token)
	if err == nil {
		_ = response.Body.Close() // the push itself shows the error
	}
}

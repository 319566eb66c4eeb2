package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/gateway/push"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/hooks/refs"
)

// keepAliveEvery is how often a client that waits is sent something, so that no proxy in
// between takes the connection for idle.
const keepAliveEvery = 5 * time.Second

// drainFactor bounds what is read of a refused push, in packs of the longest kind.
const drainFactor = 2

// A pushing is one push on its way through the gateway.
type pushing struct {
	*request
	from    *body
	in      *bufio.Reader // of from
	dog     *watchdog
	q       *push.Request
	verdict *push.Verdict
	policy  *refs.Policy
	answer  *answer
	waiting *keepAlive
	rest    handover // what is sent to GitHub
	// verified is nil where nothing of the push is verified.
	verified *verification
	// mayBeDone says that GitHub had the whole push and did not say what became of it.
	mayBeDone bool
	// mayCome says that GitHub had the whole push and answered that it failed, which does
	// not say that no quarantine ref comes of it.
	mayCome bool
}

// A handover is a reader that is read by one goroutine and then by another.
type handover struct {
	mu     sync.Mutex // held during a Read; guards the rest
	from   io.Reader
	isOver bool
}

var errAbandoned = errors.New("the rest of the push is not forwarded")

func (h *handover) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isOver {
		return 0, errAbandoned
	}
	return h.from.Read(p)
}

// An evenly is a reader whose pieces fill the connection to GitHub: with the size in front
// and the line break behind that a chunk has, each is two whole records of TLS. It waits for
// a whole piece, since the pieces of a client that sends chunks are of other sizes.
type evenly struct{ from io.Reader }

func (e evenly) Read(p []byte) (int, error) {
	const piece = 2*recordSize - len("7ff8\r\n\r\n")
	n, err := io.ReadFull(e.from, p[:min(len(p), piece)])
	if err == io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull's own: the end, which the next Read tells
		err = nil
	}
	return n, err
}

// abandon ends the reading. When it returns, from is the caller's.
func (h *handover) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isOver = true
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
	p.dog, from.dog = dog, dog
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

// decide forwards an allowed push, and refuses another.
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
			intent[i].Detail = "verified by way of " + p.verified.refs[i]
		}
	}
	if err := p.record(true, intent...); err != nil {
		return p.refused(err)
	}
	return p.forward(ctx, token, intent)
}

// refuseWithoutReport refuses a push of a client that reads no report, which could not tell a
// refusal from success.
func (p *pushing) refuseWithoutReport() error {
	return p.written(denied(broker.ReasonRequest, "this client does not ask for a report on its push (report-status), and would not show a refusal"))
}

// isTooLong reports whether the pack is known to be larger than it may be.
func (p *pushing) isTooLong() bool {
	known := int64(p.in.Buffered())
	if p.from.isPlain() && p.ContentLength >= 0 {
		known = p.ContentLength - p.head()
	}
	return p.settings.MaxPack > 0 && known > p.settings.MaxPack
}

// head is how many bytes of a plain body stood in front of the pack. It holds until the
// pack is read.
func (p *pushing) head() int64 { return p.from.raw.n.Load() - int64(p.in.Buffered()) }

func (p *pushing) tooLong() string {
	return fmt.Sprintf("the push is larger than %d bytes; push in smaller steps", p.settings.MaxPack)
}

func (p *pushing) refusal(reason string) *push.Verdict { return push.Refuse(p.policy, p.q, reason) }

// entries are those of the audit log before anything is forwarded, one a command.
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

// operation is what a command does to its ref, as far as it shows.
func operation(c push.Command) string {
	switch u := c.Update(); {
	case u.Deletes():
		return string(refs.Delete)
	case u.Creates():
		return string(refs.Create)
	}
	return string(refs.Update)
}

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
		outcomes = p.settle(ctx, token, outcomes, err)
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
	}
	if auditErr := p.record(true, intent...); auditErr != nil {
		p.g.Access.Broker.Log.Error("the outcome of a push is not in the audit log", "request_id", p.id, "error", auditErr.Error())
	}
	if p.verified != nil && p.verdict.Allowed() {
		return p.tellResults(outcomes, report.Note())
	}
	if err != nil && p.verdict.Allowed() {
		return broken(err)
	}
	if err != nil {
		p.transfer.Reason = broker.ReasonGitHub
		p.drain()
		return p.tell()
	}
	return nil
}

// exchange sends the push and copies the answer. Where the error is not nil and nothing of
// GitHub's was passed on, the verdict is replaced by the refusal to answer with.
func (p *pushing) exchange(ctx context.Context, token *credential.Token, report *push.Report) error {
	response, err := p.post(ctx, token)
	if err != nil {
		p.rest.abandon()
		p.mayBeDone = p.from.isWhole
		p.verdict = p.refusal(p.why(err))
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/x-git-receive-pack-result" {
		refusal := notGit()
		if response.StatusCode != http.StatusOK {
			refusal = fromGitHub(response)
			p.rest.abandon()
			p.mayCome = response.StatusCode >= http.StatusInternalServerError && p.from.isWhole
		}
		if p.mayCome && p.verified == nil {
			p.mayBeDone = true
			refusal.Detail += "; it had the whole push, so see with git fetch whether it was carried out"
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
	err = p.answer.copy(report.WithNote(response.Body), report, p.dog)
	p.transfer.Out = p.answer.n
	return err
}

// why is the reason that a client sees where a push did not reach GitHub whole.
func (p *pushing) why(err error) string {
	switch {
	case errors.Is(p.from.err, errTooLong):
		return p.tooLong()
	case p.mayBeDone && p.verified != nil && len(p.verified.refs) == len(p.q.Commands):
		return "GitHub had the whole push and did not answer; no branch was moved"
	case p.mayBeDone:
		return "GitHub had the whole push and did not answer, so that it may have been carried out; see with git fetch"
	}
	return broker.RefusalOf(err).Detail
}

// maxRepeatedPush is how long a push may be, in bytes, that is kept in memory to be sent again.
// It is short, since many workspaces may push with one new token.
const maxRepeatedPush = 32 << 10

// post sends the head that was written anew, and the pack behind it.
func (p *pushing) post(ctx context.Context, token *credential.Token) (*http.Response, error) {
	const media = "application/x-git-receive-pack-"
	head := p.verdict.Head()
	p.rest.from = evenly{p.in}
	whole := io.MultiReader(bytes.NewReader(head), &p.rest)
	f := forward{method: http.MethodPost, path: string(receivePack), accept: media + "result", media: media + "request", length: -1, body: func() io.Reader { return whole }}
	if p.from.isPlain() && p.ContentLength >= 0 {
		f.length = int64(len(head)) + p.ContentLength - p.head()
	}
	if p.isFresh(token) {
		if err := f.keep(whole, maxRepeatedPush); err != nil {
			return nil, err
		}
		if !f.canRepeat {
			p.warm(ctx, token)
		}
	}
	return p.send(ctx, f, token)
}

// warm waits until GitHub knows a new token, where the push cannot be sent twice.
func (p *pushing) warm(ctx context.Context, token *credential.Token) {
	response, err := p.send(ctx, forward{method: http.MethodGet, path: "info/refs?service=" + string(receivePack), accept: "*/*", canRepeat: true}, token)
	if err == nil {
		_ = response.Body.Close() // the push itself says what is wrong
	}
}

// wait begins to keep the client from thinking that nothing happens.
func (p *pushing) wait() {
	p.answer = newAnswer(p.w)
	p.waiting = new(keepAlive)
	text := p.q.KeepAlive()
	if !p.bothWays() || text == nil {
		return
	}
	every := p.g.KeepAlive
	if every == 0 {
		every = keepAliveEvery
	}
	p.waiting.start(every, func() { p.began = true; _, _ = p.answer.Write(text) })
}

// A keepAlive says something every few seconds until it is stopped.
type keepAlive struct {
	once sync.Once
	quit chan struct{}
	gone chan struct{}
}

func (k *keepAlive) start(every time.Duration, say func()) {
	k.quit, k.gone = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(k.gone)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				say()
			case <-k.quit:
				return
			}
		}
	}()
}

// stop returns when nothing more is said.
func (k *keepAlive) stop() {
	k.once.Do(func() {
		if k.quit != nil {
			close(k.quit)
			<-k.gone
		}
	})
}

package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/gateway/advert"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/hooks/refs"
)

// maxRepeat is the largest fetch request, in bytes, that is held in memory to be sent
// again.
const maxRepeat = 1 << 20

// advertise answers GET info/refs.
func (rq *request) advertise() error {
	b := rq.g.Access.Broker
	if err := rq.g.transfers.over(rq.caller.ID, rq.settings, b.Now()); err != nil {
		return rq.written(err)
	}
	use, deletes := access.Read, false
	if rq.route.service == receivePack {
		use = access.Write
		policy, err := rq.caller.Refs()
		if err != nil {
			return rq.written(noPolicy(err))
		}
		deletes = allowsDelete(policy)
	}
	ctx, dog, end := rq.supervise(rq.Context())
	defer end()
	token, err := rq.token(ctx, use)
	if err != nil {
		return rq.written(err)
	}
	e := rq.entry(rq.kind())
	e.Operation, e.Decision = "advertise "+string(rq.route.service), broker.Granted
	rq.of(&e, token)
	if err := rq.record(false, e); err != nil {
		return err
	}
	media := "application/x-" + string(rq.route.service) + "-advertisement"
	response, err := rq.send(ctx, forward{method: http.MethodGet, path: "info/refs?service=" + string(rq.route.service), accept: media, canRepeat: true}, token)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return rq.hidden(token, fromGitHub(response))
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") != media {
		return notGit()
	}
	return rq.writeAdvertisement(response, deletes, dog)
}

func (rq *request) writeAdvertisement(response *http.Response, deletes bool, dog *watchdog) error {
	from := bufio.NewReaderSize(response.Body, headSize)
	var head []byte
	var err error
	if rq.route.service == receivePack {
		head, err = advert.ReceivePack(from, deletes)
	} else {
		head, err = advert.UploadPack(from)
	}
	if err != nil {
		r := notGit()
		r.Err = err
		return r
	}
	rq.passHeaders(response)
	a := newAnswer(rq.w)
	defer a.close()
	rq.began = true
	_, _ = a.Write(head) // copy reports whether the client closed the connection
	if err := a.copy(from, nil, dog); err != nil {
		return broken(err)
	}
	rq.transfer.Out = a.n
	return nil
}

func allowsDelete(policy *refs.Policy) bool {
	for _, rule := range policy.Rules() {
		if rule.Allows(refs.Delete) {
			return true
		}
	}
	return false
}

func noPolicy(err error) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusForbidden, Reason: broker.ReasonRule, Detail: "the refs of the workspace's profile are not valid for it", Err: err}
}

func notGit() *broker.Refusal {
	return &broker.Refusal{Status: http.StatusBadGateway, Reason: broker.ReasonGitHub, Detail: "GitHub's answer is not a git answer"}
}

// broken returns the refusal for an answer that broke off. The caller then cuts the
// connection, so that no client takes the answer for complete.
func broken(err error) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusBadGateway, Reason: broker.ReasonGitHub, Detail: "GitHub's answer is incomplete", Err: err}
}

func (rq *request) kind() string {
	if rq.route.service == receivePack {
		return broker.KindPush
	}
	return broker.KindFetch
}

// token gets the token for the request. It is nil for a public repository that the
// profile only reads.
func (rq *request) token(ctx context.Context, use access.Use) (*credential.Token, error) {
	if use == access.Read && rq.caller.ReadsPublic(rq.route.repo) {
		return nil, nil //nolint:nilnil // no token is an answer
	}
	g, err := rq.g.Access.Token(ctx, rq.caller, rq.route.repo, use)
	if err != nil {
		return nil, err
	}
	return &g.Token, nil
}

// of writes into an entry which token is used.
func (rq *request) of(e *broker.Entry, token *credential.Token) {
	if token == nil {
		e.Reason = "public"
		return
	}
	e.Hash, e.Expires, e.Permissions = token.Hash(), token.Expiry.UTC(), token.Permissions
	if len(token.RepositoryIDs) == 1 {
		e.RepositoryID = token.RepositoryIDs[0]
	}
}

// hidden gives a private repository the same error as one that does not exist, if the
// request had no token.
func (rq *request) hidden(token *credential.Token, r *broker.Refusal) *broker.Refusal {
	if token == nil && r.Status == http.StatusNotFound {
		r.Detail = "GitHub has no public repository " + rq.route.repo.String()
	}
	return r
}

// written records a refusal in the audit log and returns it. If the log cannot be
// written, it returns that error. Refusals for too many requests are not recorded, so
// that a workspace cannot fill the disk.
func (rq *request) written(err error) error {
	refusal := broker.RefusalOf(err)
	if refusal.Reason == broker.ReasonLimit {
		return refusal
	}
	e := rq.entry(rq.kind())
	e.Decision, e.Reason, e.Detail = broker.Refused, refusal.Reason, refusal.Detail
	if err := rq.record(false, e); err != nil {
		return err
	}
	return refusal
}

// checkRequest refuses a POST request that is not git's.
func (rq *request) checkRequest() error {
	want := "application/x-" + string(rq.route.service) + "-request"
	if got := rq.Header.Values("Content-Type"); len(got) != 1 || got[0] != want {
		return &broker.Refusal{Status: http.StatusUnsupportedMediaType, Reason: broker.ReasonRequest, Detail: "the Content-Type of this request must be " + want}
	}
	return nil
}

// fetch answers POST git-upload-pack.
func (rq *request) fetch() error {
	if err := rq.checkRequest(); err != nil {
		return err
	}
	b := rq.g.Access.Broker
	from, err := newBody(rq.Request, 0)
	if err != nil {
		return err
	}
	ctx, end, err := rq.g.transfers.begin(rq.Context(), rq.caller, rq.route.repo.Owner, rq.settings, b.Now)
	if err != nil {
		return rq.written(err)
	}
	defer func() { end(rq.transfer.In + rq.transfer.Out) }()
	defer func() { rq.transfer.In = from.raw.n.Load() }()
	token, err := rq.token(ctx, access.Read)
	if err != nil {
		return rq.written(err)
	}
	e := rq.entry(broker.KindFetch)
	e.Decision = broker.Granted
	rq.of(&e, token)
	if err := rq.record(false, e); err != nil {
		return err
	}
	outcome, err := rq.exchange(ctx, from, token)
	e.Time, e.Outcome, e.Bytes = b.Now().UTC(), outcome, from.raw.n.Load()+rq.transfer.Out
	rq.transfer.Outcomes = []string{outcome}
	return errors.Join(err, rq.record(false, e))
}

// exchange forwards a fetch request and copies the answer.
func (rq *request) exchange(ctx context.Context, from *body, token *credential.Token) (outcome string, err error) {
	ctx, dog, end := rq.supervise(ctx)
	defer end()
	from.watchdog = dog
	rq.bothWays()
	const media = "application/x-git-upload-pack-"
	f := forward{method: http.MethodPost, path: string(uploadPack), accept: media + "result", media: media + "request", length: -1, body: func() io.Reader { return from }}
	if from.isPlain() {
		f.length = rq.ContentLength
	}
	if rq.isFresh(token) {
		if err := f.buffer(from, maxRepeat); err != nil {
			return broker.OutcomeFailed, err
		}
	}
	response, err := rq.send(ctx, f, token)
	if err != nil {
		return broker.OutcomeFailed, err
	}
	if response.StatusCode != http.StatusOK {
		return broker.OutcomeRefused, rq.hidden(token, fromGitHub(response))
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") != media+"result" {
		return broker.OutcomeFailed, notGit()
	}
	rq.passHeaders(response)
	a := newAnswer(rq.w)
	defer a.close()
	rq.began = true
	err = a.copy(response.Body, nil, dog)
	rq.transfer.Out = a.n
	if err != nil {
		return broker.OutcomeFailed, broken(err)
	}
	return broker.OutcomeOK, nil
}

// buffer reads a body of at most limit bytes into memory, so that the request can be sent
// again. It leaves a longer body as it is.
func (f *forward) buffer(from io.Reader, limit int64) error {
	if f.length > limit {
		return nil
	}
	var kept bytes.Buffer
	if f.length > 0 {
		kept.Grow(int(f.length) + bytes.MinRead)
	}
	n, err := io.Copy(&kept, io.LimitReader(from, limit+1))
	if clientErr, ok := errors.AsType[*clientError](err); ok {
		return clientErr.refusal()
	}
	if err != nil {
		return err
	}
	if n > limit {
		f.body = func() io.Reader { return io.MultiReader(&kept, from) }
		return nil
	}
	f.length, f.canRepeat = n, true
	f.body = func() io.Reader { return bytes.NewReader(kept.Bytes()) }
	return nil
}

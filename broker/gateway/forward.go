package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/redact"
)

const (
	// freshness is how long some of GitHub's servers may not know a new token
	// (https://github.com/octokit/auth-app.js/issues/65).
	freshness = time.Minute
	lagWait   = 15 * time.Second // for all attempts together
	firstWait = 200 * time.Millisecond
	maxWait   = 3 * time.Second
)

// gitVersion matches the Git-Protocol headers that a client may send.
var gitVersion = regexp.MustCompile(`\Aversion=[012]\z`)

// A forward is a request to GitHub that may be sent more than once.
type forward struct {
	method string
	path   string // after the repository's path, with the query
	accept string
	media  string // of body
	length int64  // of body; -1 if unknown
	// body returns the body for one attempt; nil means no body. canRepeat says that
	// body may be called again.
	body      func() io.Reader
	canRepeat bool
}

// send forwards a request with a token; nil means without one. While the token is so
// new that GitHub's servers may not know it, send retries a refused request with the
// same token.
func (rq *request) send(ctx context.Context, f forward, token *credential.Token) (*http.Response, error) {
	until, wait := time.Now().Add(lagWait), firstWait
	for {
		response, err := rq.attempt(ctx, f, token)
		if err != nil {
			return nil, unreachable(ctx, err)
		}
		if !f.canRepeat || !mayLag(response.StatusCode) || !rq.isFresh(token) || time.Now().Add(wait).After(until) {
			if err := rq.rejected(ctx, response, token); err != nil {
				return nil, err
			}
			return response, nil
		}
		_ = response.Body.Close() // an error answer that is not shown
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, unreachable(ctx, ctx.Err())
		}
		wait = min(2*wait, maxWait)
	}
}

// rejected returns an error, and closes the response, if GitHub does not accept the token
// any more: it was revoked, and the next request gets another one.
func (rq *request) rejected(ctx context.Context, response *http.Response, token *credential.Token) error {
	if response.StatusCode != http.StatusUnauthorized || token == nil || !rq.g.Access.Broker.Rejected(ctx, *token) {
		return nil
	}
	_ = response.Body.Close()
	return access.TokenEnded()
}

// mayLag reports whether a server that does not know a token yet may answer with this
// status.
func mayLag(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound
}

// isFresh reports whether a token is younger than freshness. GitHub's tokens are valid
// for [credential.Lifetime].
func (rq *request) isFresh(token *credential.Token) bool {
	return token != nil && token.Expiry.Sub(rq.g.Access.Broker.TokenTime()) > credential.Lifetime-freshness
}

func (rq *request) attempt(ctx context.Context, f forward, token *credential.Token) (*http.Response, error) {
	var body io.Reader
	if f.body != nil {
		body = f.body()
	}
	up := rq.g.Access.Upstream
	r, err := http.NewRequestWithContext(ctx, f.method, up.Git.String()+"/"+rq.upstreamName(token)+".git/"+f.path, body)
	if err != nil {
		return nil, err
	}
	if f.body != nil {
		r.ContentLength = f.length
		r.Header.Set("Content-Type", f.media)
	}
	r.Header.Set("Accept", f.accept)
	r.Header.Set("User-Agent", access.UserAgent)
	if version := rq.Header.Get("Git-Protocol"); gitVersion.MatchString(version) {
		r.Header.Set("Git-Protocol", version)
	}
	if token != nil {
		r.SetBasicAuth(token.Login(), token.Secret())
	}
	return up.Do(r)
}

// upstreamName returns the repository's name: as GitHub named it with the token, or
// else as the request does, in canonical form.
func (rq *request) upstreamName(token *credential.Token) string {
	if token != nil && len(token.Repositories) == 1 {
		if named, ok := gitname.Repository(token.Repositories[0]); ok {
			return named.String()
		}
	}
	return rq.route.repo.String()
}

// unreachable returns the refusal for a request that GitHub did not answer.
func unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errCut) {
		return errCut
	}
	if bodyErr, ok := errors.AsType[*clientError](err); ok {
		return bodyErr.refusal()
	}
	return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonGitHub, RetryAfter: broker.RetryAfter, Detail: "GitHub did not answer", Err: err}
}

// fromGitHub returns the refusal for an answer by GitHub that is not 200. It shows at
// most one line of the answer, and never the target of a redirect.
func fromGitHub(response *http.Response) *broker.Refusal {
	defer response.Body.Close()
	r := &broker.Refusal{Status: http.StatusBadGateway, Reason: broker.ReasonGitHub}
	id := ""
	if requestID := response.Header.Get("X-GitHub-Request-Id"); requestID != "" {
		id = " (request " + redact.Text(requestID, 64) + ")"
	}
	switch status := response.StatusCode; {
	case status/100 == 3:
		r.Status = http.StatusForbidden
		r.Detail = "GitHub says that the repository has another name now; write it in the profile and in the remote's URL" + id
	case status == http.StatusNotFound || status == http.StatusUnauthorized:
		r.Status, r.Detail = http.StatusNotFound, "GitHub does not show this repository to the App"+id
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		r.Status, r.RetryAfter = status, retryAfter(response.Header)
		r.Detail = fmt.Sprintf("GitHub answered %d%s", status, id)
	case status == http.StatusForbidden:
		r.Status, r.Detail = status, "GitHub refuses: "+firstLine(response.Body)+id
	default:
		r.Detail = fmt.Sprintf("GitHub answered %d%s", status, id)
	}
	return r
}

const maxShown = 300 // bytes shown of GitHub's text

func firstLine(r io.Reader) string {
	line, _ := bufio.NewReaderSize(io.LimitReader(r, maxShown), maxShown).ReadString('\n')
	return redact.Text(line, maxShown)
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 24*3600 {
		return broker.RetryAfter
	}
	return max(time.Duration(seconds)*time.Second, time.Second)
}

// passed are the headers of GitHub's answers that are passed on to the workspace.
var passed = []string{"Content-Type", "X-Github-Request-Id"}

func (rq *request) passHeaders(response *http.Response) {
	header := rq.w.Header()
	for _, name := range passed {
		if value := response.Header.Get(name); value != "" {
			header.Set(name, value)
		}
	}
	header.Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
}

// A twoPhaseReader is a reader that one goroutine reads first, and another afterwards.
type twoPhaseReader struct {
	mu     sync.Mutex // held during a Read; guards the rest
	from   io.Reader
	isOver bool
}

var errAbandoned = errors.New("the rest of the push is not forwarded")

func (h *twoPhaseReader) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isOver {
		return 0, errAbandoned
	}
	return h.from.Read(p)
}

// A chunkReader is a reader whose reads fill the buffer of the connection to GitHub: a
// piece, with a chunk's size before it and line breaks after it, is exactly two TLS
// records. It waits for a whole piece, because a client that sends chunks sends other
// sizes.
type chunkReader struct{ from io.Reader }

func (e chunkReader) Read(p []byte) (int, error) {
	const piece = 2*recordSize - len("7ff8\r\n\r\n")
	n, err := io.ReadFull(e.from, p[:min(len(p), piece)])
	if err == io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull's own: the end, which the next Read tells
		err = nil
	}
	return n, err
}

// abandon makes later Reads fail. Once it returns, the caller may read from.
func (h *twoPhaseReader) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isOver = true
}

// keepAliveEvery is how often something is sent to a client that waits, so that no
// proxy closes the connection as idle.
const keepAliveEvery = 5 * time.Second

// wait begins to send keep-alive packets to the client, if the client can read them.
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

// A keepAlive calls a function at a fixed interval until it is stopped.
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

// stop ends the calls, and returns after the last one.
func (k *keepAlive) stop() {
	k.once.Do(func() {
		if k.quit != nil {
			close(k.quit)
			<-k.gone
		}
	})
}

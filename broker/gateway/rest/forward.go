package rest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/version"
)

const (
	maxReplay = 1 << 20         // bytes of a body that is held in memory to be sent again
	bodyWait  = 2 * time.Minute // for the body of a request
	lagAge    = time.Minute     // age up to which some of GitHub's servers may not know a token
)

// lagWaits are the pauses between attempts of a request whose new token GitHub does not
// know.
var lagWaits = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// forward sends the request to GitHub and passes on the answer.
func (c *call) forward() (err error) {
	watched, done := c.o.Watched(c.r.Context(), c.caller, c.target.repo.Owner)
	defer done()
	defer func() { err = cutShort(watched, err) }()
	ctx, cancel := context.WithTimeout(watched, maxDuration)
	defer cancel()
	defer context.AfterFunc(watched, func() { // ends the wait for a body
		_ = http.NewResponseController(c.w).SetReadDeadline(past)
	})()
	watch := time.AfterFunc(bodyWait, cancel)
	defer watch.Stop()
	body, err := c.body()
	if err != nil {
		return err
	}
	if c.target.area == graphqlArea && body != nil {
		if err := c.takePoints(points(body.head) - 1); err != nil { // serve has counted one already
			return err
		}
	}
	c.r = c.r.WithContext(ctx)
	watch.Reset(firstByte)
	resp, err := c.sendCached(body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return c.answer(resp, watch)
}

var past = time.Unix(1, 0)

// cutShort returns the refusal that ended the request early, if nothing was answered
// yet. It returns any other error unchanged.
func cutShort(watched context.Context, err error) error {
	refusal, ok := errors.AsType[*broker.Refusal](context.Cause(watched))
	if err == nil || errors.Is(err, errCut) || !ok {
		return err
	}
	return refusal
}

// A replay is a body, in memory if it is small enough to be sent again.
type replay struct {
	head  []byte
	rest  io.Reader // nil if head is the whole body
	known int64     // the body's length; -1 if unknown
}

// body reads a small body as a whole, and the beginning of a larger one.
func (c *call) body() (*replay, error) {
	if isSafe(c.r.Method) || c.r.ContentLength == 0 {
		return nil, nil
	}
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(bodyWait)) // fails only in tests, without a connection
	limited := http.MaxBytesReader(c.w, c.r.Body, maxBody)
	head, err := io.ReadAll(io.LimitReader(limited, maxReplay+1))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge()
	}
	if err != nil {
		return nil, broker.BadRequest("the body of this request ended early")
	}
	if len(head) <= maxReplay {
		return &replay{head, nil, int64(len(head))}, nil
	}
	return &replay{head, limited, c.r.ContentLength}, nil
}

func (b *replay) reader() io.Reader {
	if b.rest == nil {
		return bytes.NewReader(b.head)
	}
	return io.MultiReader(bytes.NewReader(b.head), b.rest)
}

// sendCached sends the request. If the cache has an answer, it only asks whether that
// changed.
func (c *call) sendCached(body *replay) (*http.Response, error) {
	to, err := c.url()
	if err != nil {
		return nil, unavailable("GitHub cannot be reached", hideURL(err))
	}
	key, mayKeep := c.cacheKey(to)
	if mayKeep {
		c.known = c.cache.get(key)
	}
	resp, err := c.send(body)
	if err != nil || !mayKeep {
		return resp, err
	}
	if c.known != nil && resp.StatusCode == http.StatusNotModified {
		c.budget.undo(c.account(), c.now()) // GitHub does not count it either
		return c.known.unchanged(resp), nil
	}
	c.cacheAnswer(resp, key)
	return resp, nil
}

// send sends the request with the token. It retries a 401 while GitHub may not know the
// token yet: a request that was answered 401 had no effect.
func (c *call) send(body *replay) (*http.Response, error) {
	for _, wait := range append(lagWaits, -1) {
		resp, err := c.sendOnce(body)
		if err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return nil, tooLarge()
			}
			return nil, unavailable("GitHub cannot be reached", hideURL(err))
		}
		mayRepeat := body == nil || body.rest == nil
		if resp.StatusCode != http.StatusUnauthorized {
			return resp, nil
		}
		if wait < 0 || !mayRepeat || !c.isFresh() {
			return c.rejected(resp)
		}
		resp.Body.Close()
		if err := pause(c.r.Context(), wait); err != nil {
			return nil, unavailable("GitHub does not accept its new token yet", err)
		}
	}
	return nil, unavailable("GitHub does not accept its new token yet", nil) // not reached: the last attempt has no wait
}

// rejected returns GitHub's 401, or an error if GitHub does not accept the token any more.
func (c *call) rejected(resp *http.Response) (*http.Response, error) {
	if !c.access.Broker.Rejected(c.r.Context(), c.grant.Token) {
		return resp, nil
	}
	resp.Body.Close()
	return nil, access.TokenEnded()
}

// isFresh reports whether the token is so new that some of GitHub's servers may not
// know it.
func (c *call) isFresh() bool {
	born := c.grant.Token.Expiry.Add(-credential.Lifetime)
	return c.access.Broker.TokenTime().Sub(born) < lagAge
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (c *call) sendOnce(body *replay) (*http.Response, error) {
	to, err := c.url()
	if err != nil {
		return nil, err
	}
	var reader io.Reader
	if body != nil {
		reader = body.reader()
	}
	req, err := http.NewRequestWithContext(c.r.Context(), c.r.Method, to, reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.ContentLength = body.known
	}
	req.Header = upstreamHeader(c.r, c.grant.Token.Secret())
	if c.known != nil {
		req.Header.Set("If-None-Match", c.known.etag)
	}
	return c.access.Upstream.Do(req)
}

// url returns the request's URL at GitHub. The repository in it comes from the policy;
// the rest is as the caller escaped it.
func (c *call) url() (string, error) {
	t, base := c.target, strings.TrimSuffix(c.access.Upstream.API.String(), "/")
	path := t.path
	switch {
	case t.area == graphqlArea:
		base, path = strings.TrimSuffix(base, "/v3"), "/graphql"
	case t.repo.IsValid():
		path = "/repos/" + t.repo.String() + t.tail
	}
	to := base + path
	if t.query != "" {
		to += "?" + t.query
	}
	u, err := url.Parse(to)
	if err != nil {
		return "", err
	}
	if u.Host != c.access.Upstream.API.Host || !strings.HasPrefix(u.EscapedPath(), c.access.Upstream.API.EscapedPath()) && t.area != graphqlArea {
		return "", errors.New("the request leads outside GitHub's API")
	}
	return to, nil
}

// decoded returns the body of an answer, decompressed.
func decoded(resp *http.Response) (io.Reader, error) {
	switch resp.Header.Get("Content-Encoding") {
	case "", "identity":
		return resp.Body, nil
	case "gzip":
		return gzip.NewReader(resp.Body)
	}
	return nil, errors.New("its compression was not requested")
}

// forwardedHeaders are the request headers that are forwarded to GitHub: about the form of the
// answer, about caches, and about the body. Headers that identify the caller are not
// among them.
var forwardedHeaders = []string{
	"Accept", "Content-Type", "GraphQL-Features", "If-Match", "If-Modified-Since", "If-None-Match",
	"If-Unmodified-Since", "Range", "If-Range", "Time-Zone", "X-GitHub-Api-Version", "X-GitHub-Next-Global-ID",
}

// agent is the User-Agent of all forwarded requests: GitHub refuses requests without
// one.
var agent = "gatepass-broker/" + version.String()

// upstreamHeader returns the headers of the request to GitHub, with the token.
func upstreamHeader(r *http.Request, secret string) http.Header {
	h := http.Header{}
	copyHeaders(h, r.Header, forwardedHeaders)
	h.Set("User-Agent", agent)
	h.Set("Accept-Encoding", "gzip")
	h.Set("Authorization", "Bearer "+secret)
	return h
}

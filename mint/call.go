package mint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

const (
	maxAttempts = 4
	firstWait   = 500 * time.Millisecond
	maxWait     = 30 * time.Second // for a longer wait, the caller gets an error with RetryAfter
	maxBody     = 8 << 20          // 100 installations with their permissions take 300 KB
)

// A client calls GitHub's REST API for an [App].
type client struct {
	id     string
	signer Signer
	base   string // of every path
	http   *http.Client
	now    func() time.Time
	once   bool
	*state
}

// state is what an App learns from GitHub's answers, and its current JWT.
type state struct {
	jwt   jwtCache
	rate  rate
	clock githubClock
	gate  gate
}

// rest returns a client with the App's settings. All clients of an App share its state.
func (a *App) rest() client {
	used := defaultClient
	if a.Client != nil {
		own := *a.Client
		own.CheckRedirect = refuseRedirect
		used = &own
	}
	return client{id: a.ID, signer: a.Signer, base: cmp.Or(strings.TrimSuffix(a.URL, "/"), DefaultURL), http: used, now: a.now, once: a.Once, state: &a.state}
}

// time returns the time by GitHub's clock, as far as it is known.
func (cl client) time() time.Time {
	ahead, _ := cl.clock.reading()
	return cl.now().Add(-ahead)
}

// A call is one request to GitHub.
type call struct {
	doing       string // for error messages
	method      string
	url         string // whole, or a path of the API
	token       string // an installation token; empty means the App's JWT
	open        bool   // no authorization
	body        []byte
	want        int       // the status that means success
	followMoved bool      // a redirect from a former name is also an answer
	minted      time.Time // when the token of a read was minted; zero if it is not new

	installation int64 // for which a token is minted; else 0
}

// read returns a call that reads with the App's JWT.
func read(doing, url string) call {
	return call{doing: doing, method: http.MethodGet, want: http.StatusOK, url: url}
}

// anonymous returns a call that reads without authorization.
func anonymous(doing, url string) call {
	c := read(doing, url)
	c.open = true
	return c
}

// answer is an answer with the wanted status.
type answer struct {
	header      http.Header
	body        []byte
	unconfirmed int // earlier attempts that GitHub may also have carried out
}

// do makes a call until it succeeds, fails for good, or the next wait would end after
// ctx's deadline. It makes no attempt while GitHub asks the App to pause. An App with
// Once does not wait.
func (cl client) do(ctx context.Context, c call) (answer, error) {
	relearned, unconfirmed := false, 0
	for attempt := 1; ; attempt++ {
		var got answer
		err := cl.wait(ctx, c)
		if err == nil {
			got, err = cl.attempt(ctx, c)
		}
		failure, ok := errors.AsType[*Error](err)
		if !ok {
			got.unconfirmed = unconfirmed
			return got, err
		}
		unconfirmed += failure.Unconfirmed
		failure.Unconfirmed = unconfirmed
		if failure.Kind == Skewed && !relearned {
			relearned = true
			continue
		}
		if cl.mayLag(c, failure) && cl.sleep(ctx, lagWait) {
			attempt = 0
			continue
		}
		if attempt == maxAttempts || !isTransient(failure.Kind) || !cl.sleep(ctx, wait(failure, attempt)) {
			return answer{}, err
		}
	}
}

// isTransient reports whether a failure may be gone at the next attempt.
func isTransient(k Kind) bool { return k == RateLimited || k == Unavailable }

// wait returns how long to wait: what GitHub asks for, or else a doubling time, with a
// random part so that many processes do not return at the same time.
func wait(e *Error, attempt int) time.Duration {
	if e.RetryAfter > 0 {
		return e.RetryAfter + rand.N(time.Second)
	}
	d := firstWait << (attempt - 1)
	return d/2 + rand.N(d)
}

// sleep waits for d. It returns false at once if that is too long.
func (cl client) sleep(ctx context.Context, d time.Duration) bool {
	deadline, bounded := ctx.Deadline()
	if cl.once || d > maxWait || bounded && time.Until(deadline) < d {
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (cl client) attempt(ctx context.Context, c call) (answer, error) {
	believed, _ := cl.clock.reading()
	r, err := cl.request(ctx, c)
	if err != nil {
		return answer{}, err
	}
	sent := cl.now()
	response, err := cl.http.Do(r)
	if err != nil {
		return answer{}, noAnswer(ctx, c.doing, err)
	}
	cl.clock.update(response, sent, cl.now())
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errors.New("the answer is longer than 8 MiB")
	}
	if err != nil {
		return answer{}, noAnswer(ctx, c.doing, err)
	}
	cl.rate.update(c, response.Header)
	moved := c.followMoved && response.StatusCode == http.StatusMovedPermanently
	if response.StatusCode != c.want && !moved {
		return answer{}, cl.failure(c, response, body, sent, believed)
	}
	cl.gate.open(sent)
	return answer{header: response.Header, body: body}, nil
}

func (cl client) request(ctx context.Context, c call) (*http.Request, error) {
	bearer := c.token
	if bearer == "" && !c.open {
		ahead, _ := cl.clock.reading()
		jwt, err := cl.jwt.token(ctx, cl.id, cl.signer, cl.now(), ahead)
		if err != nil {
			return nil, signFailed(ctx, c.doing, err)
		}
		bearer = jwt
	}
	address := c.url
	if strings.HasPrefix(address, "/") {
		address = cl.base + address
	}
	r, err := http.NewRequestWithContext(ctx, c.method, address, bytes.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("X-GitHub-Api-Version", apiVersion)
	r.Header.Set("User-Agent", userAgent)
	if c.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, nil
}

// refusal is the body of an error answer.
type refusal struct {
	Message string `json:"message"`
	Docs    string `json:"documentation_url"`
}

// failure returns the error for a refused request. sent is when the request was sent.
// It allows one more attempt if the JWT was signed with another clock difference than
// GitHub's answer now shows.
func (cl client) failure(c call, r *http.Response, body []byte, sent time.Time, believed time.Duration) error {
	var said refusal
	if json.Unmarshal(body, &said) != nil || said.Message == "" {
		said.Message = http.StatusText(r.StatusCode)
	}
	e := classify(c.doing, r, said, cl.time())
	ahead, _ := cl.clock.reading()
	isJWT := c.token == "" && !c.open
	switch {
	case c.token != "" && (e.Kind == BadKey || e.Kind == NotInstalled):
		e.Kind = BadToken // the request did not use the App's key
	case e.Kind == Unavailable:
		e.Unconfirmed = 1
	case e.Kind == RateLimited:
		cl.gate.close(c, e, sent, cl.now())
	case e.Kind == BadKey && isJWT && r.StatusCode == http.StatusUnauthorized && (ahead-believed).Abs() >= jwtBackdate/2:
		e.Kind = Skewed
	}
	return e
}

// noAnswer returns the error of a request without an answer.
func noAnswer(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the address is ours and adds nothing
	}
	e := &Error{Kind: Unavailable, Op: doing, Err: err}
	if dial, ok := errors.AsType[*net.OpError](err); !ok || dial.Op != "dial" {
		e.Unconfirmed = 1
	}
	return e
}

// signFailed returns the error of a request that was not sent because its JWT could not
// be signed.
func signFailed(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &Error{Kind: Unsigned, Op: doing, Err: err}
}

// decode decodes a JSON answer. An answer that is cut off or not JSON counts as GitHub
// being unavailable.
func decode(doing string, body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return &Error{Kind: Unavailable, Op: doing, Err: errors.New("the answer is not the expected JSON")}
	}
	return nil
}

// After a secondary rate limit without Retry-After, GitHub asks for a pause of a
// minute, and for a longer one each further time
// (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately).
const (
	firstPause = time.Minute
	maxPause   = 32 * time.Minute
)

// A gate stops the requests of one App while GitHub asks it to pause. Requests during
// the pause would make it longer.
type gate struct {
	mu      sync.Mutex // guards the rest
	all     pause
	jwt     pause // for requests with the App's JWT; tokens have separate limits
	strikes int   // consecutive pauses whose length GitHub did not state
}

// A pause ends by this machine's clock. why is the answer that asked for it.
type pause struct {
	until time.Time
	why   *Error
}

// longer extends the pause if until is later than its end.
func (p *pause) longer(until time.Time, why *Error, now time.Time) {
	if p.why == nil || clock.Left(until, now) > clock.Left(p.until, now) {
		*p = pause{until, why}
	}
}

// close starts the pause that a rate limit asks for. sent is when the request was sent:
// of several that are refused together, only the first counts.
func (g *gate) close(c call, e *Error, sent, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.isUnstated {
		if g.all.why == nil || !sent.Before(g.all.until) {
			g.strikes++
		}
		e.RetryAfter = min(firstPause<<max(g.strikes-1, 0), maxPause)
	}
	why := *e // the caller changes its own copy
	until := now.Add(e.RetryAfter)
	switch {
	case e.RetryAfter <= 0:
	case !e.isExhausted:
		g.all.longer(until, &why, now)
	case c.token == "":
		g.jwt.longer(until, &why, now)
	}
}

// open resets the count of strikes after a request that was sent after the pause
// succeeded.
func (g *gate) open(sent time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.strikes > 0 && !sent.Before(g.all.until) {
		g.strikes = 0
	}
}

// blocked returns the rate limit that a request would meet, with the time left; nil if
// there is none.
func (g *gate) blocked(c call, now time.Time) *Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, left := g.all, clock.Left(g.all.until, now)
	if jwt := clock.Left(g.jwt.until, now); c.token == "" && !c.open && jwt > left {
		p, left = g.jwt, jwt
	}
	if p.why == nil || left <= 0 {
		return nil
	}
	e := *p.why
	e.Op, e.RetryAfter, e.Unconfirmed = c.doing, left, 0
	return &e
}

// wait lets a request pass, after the pause if that ends soon enough.
func (cl client) wait(ctx context.Context, c call) error {
	for {
		held := cl.gate.blocked(c, cl.now())
		if held == nil {
			return nil
		}
		if !cl.sleep(ctx, held.RetryAfter+rand.N(time.Second)) {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			return held
		}
	}
}

// Paused returns the rate limit that stops requests with the App's JWT, with the time
// left; nil if there is none.
func (a *App) Paused() *Error { return a.state.gate.blocked(call{doing: "ask GitHub"}, a.now()) }

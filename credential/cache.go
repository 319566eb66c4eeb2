package credential

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/usererr"
)

// The defaults of a Cache.
const (
	defaultMargin   = 5 * time.Minute
	defaultMinLife  = time.Minute
	defaultNegative = 2 * time.Second
	defaultTimeout  = 20 * time.Second

	retryEarly  = 10 * time.Second // between attempts to replace a token that is still valid
	inUse       = 15 * time.Minute // a token that was used this recently is refreshed ahead of time
	maxEntries  = 4096
	maxRejected = 1024
)

// A Cache is a Source that keeps the tokens of another Source in memory.
//
// It serves a token until Margin before its expiry, then fetches a new one. While that
// fails, it serves the old token until MinLife is left. Requests for the same token
// wait for one fetch. A failure is cached for Negative, so that a command that asks ten
// times fails once. A token that a server rejected is not served again for that
// repository. Zero durations mean the defaults above.
type Cache struct {
	Source   Source
	Margin   time.Duration // default 5 minutes
	MinLife  time.Duration // default 1 minute; a token with less left is never served
	Negative time.Duration // default 2 seconds; a negative value caches no failures
	Timeout  time.Duration // of one fetch, default 20 seconds; longer if the caller has more time

	mu          sync.Mutex // guards all below
	entries     map[string]*entry
	rejected    map[rejection]time.Time // until when to remember each
	lastRefused map[string]time.Time    // by host: when a server last refused a token of this cache
}

// A rejection is a secret that a server refused for one repository. It says nothing
// about other repositories that share the token: git may have sent its own header
// there. Path is "" if git did not name the repository.
type rejection struct{ print, host, path string }

// An entry is the state of one key.
type entry struct {
	host    string
	request Request // the latest request, to refresh with
	token   Token
	used    time.Time
	got     time.Time // when token was fetched
	refresh time.Time // when to fetch the next one ahead of the expiry
	tried   time.Time // time of the latest attempt to replace token

	failure      error
	failureUntil time.Time
	flight       *flight
}

// A flight is one fetch that any number of requests wait for.
type flight struct {
	done    chan struct{} // closed when token and err are set
	token   Token
	err     error
	entry   *entry
	waiters int // guarded by the cache's mu; at zero the fetch is cancelled
	cancel  context.CancelFunc
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// Token returns the cached token for req, or fetches one. A token from memory is
// marked; see [Token.Cached].
func (c *Cache) Token(ctx context.Context, req Request) (Token, error) {
	c.mu.Lock()
	e := c.entry(req)
	e.request, e.used = req, time.Now()
	if IsWithoutCache(ctx) {
		e.token, e.failure, e.flight = Token{}, nil, nil
	}
	if tok, err, ok := c.known(e); ok {
		c.mu.Unlock()
		return tok, err
	}
	f := c.join(ctx, e)
	c.mu.Unlock()
	tok, err := c.wait(ctx, f)
	if err == nil && c.isRejected(req, tok) {
		return Token{}, errRejected
	}
	return tok, err
}

var errRejected = usererr.New("get a token", "the source still holds the token that the server rejected",
	"wait for the next refresh, or ask the issuing side to refresh this workspace")

// isRejected reports whether a server refused tok for the repository of req, or
// for a repository of the host that git did not name.
func (c *Cache) isRejected(req Request, tok Token) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rejects(req, tok)
}

// rejects is like isRejected, for a caller that holds mu.
func (c *Cache) rejects(req Request, tok Token) bool {
	if len(c.rejected) == 0 {
		return false
	}
	r := rejection{print: fingerprint(tok.Secret()), host: req.Host}
	_, unnamed := c.rejected[r]
	r.path = req.Path
	_, named := c.rejected[r]
	return unnamed || named
}

// entry returns the entry for req's key, and makes it if it is missing. The caller
// holds mu.
func (c *Cache) entry(req Request) *entry {
	key := c.key(req)
	if e, ok := c.entries[key]; ok {
		return e
	}
	if c.entries == nil {
		c.entries = make(map[string]*entry)
	}
	if len(c.entries) >= maxEntries {
		c.dropIdle()
	}
	e := &entry{host: req.Host}
	c.entries[key] = e
	return e
}

func (c *Cache) key(req Request) string { return KeyOf(c.Source, req) }

// dropIdle removes the entry that was not used for the longest time, to make room. The
// caller holds mu.
func (c *Cache) dropIdle() {
	oldest, when := "", time.Now()
	for key, e := range c.entries {
		if e.flight == nil && !e.used.After(when) {
			oldest, when = key, e.used
		}
	}
	delete(c.entries, oldest)
}

// known answers from memory if it can. The caller holds mu.
func (c *Cache) known(e *entry) (tok Token, err error, ok bool) {
	now := time.Now()
	left := e.token.Expiry.Sub(now)
	switch {
	case e.token.IsZero():
	case c.rejects(e.request, e.token):
		if clock.Since(e.tried, now) < orDefault(c.Negative, defaultNegative) {
			return Token{}, errRejected, true
		}
		return Token{}, nil, false
	case left > orDefault(c.Margin, defaultMargin):
		return e.token.AsCached(), nil, true
	case left > orDefault(c.MinLife, defaultMinLife) && clock.Since(e.tried, now) < retryEarly:
		return e.token.AsCached(), nil, true
	}
	if e.failure != nil && clock.Left(e.failureUntil, now) > 0 {
		return Token{}, e.failure, true
	}
	return Token{}, nil, false
}

// join returns the running fetch, or starts one. The caller holds mu.
func (c *Cache) join(ctx context.Context, e *entry) *flight {
	if e.flight == nil {
		// Other callers may wait longer than the first one, and a caller longer than
		// Timeout.
		timeout := orDefault(c.Timeout, defaultTimeout)
		if deadline, ok := ctx.Deadline(); ok {
			timeout = max(timeout, time.Until(deadline))
		}
		fetch, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		e.flight = &flight{done: make(chan struct{}), entry: e, cancel: cancel}
		go c.fetch(fetch, e.flight, e.request)
	}
	e.flight.waiters++
	return e.flight
}

func (c *Cache) wait(ctx context.Context, f *flight) (Token, error) {
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		if f.waiters--; f.waiters == 0 {
			f.cancel()
			f.land()
		}
		return Token{}, ctx.Err()
	}
}

// land removes f from its entry, so that the next request starts a new fetch. The
// caller holds mu.
func (f *flight) land() {
	if f.entry.flight == f {
		f.entry.flight = nil
	}
}

func (c *Cache) fetch(ctx context.Context, f *flight, req Request) {
	defer f.cancel()
	tok, err := c.Source.Token(ctx, req)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = c.refuse(tok)
	}
	if f.token, f.err = tok, err; f.entry.flight == f { // otherwise a later fetch has taken over
		f.token, f.err = c.complete(f.entry, tok, err)
	}
	f.land()
	close(f.done)
}

// refuse returns an error if a token from the source must not be used for any request.
func (c *Cache) refuse(tok Token) error {
	if err := CheckSecret(tok.Secret()); err != nil {
		return err
	}
	if left := time.Until(tok.Expiry); left <= 0 {
		return usererr.New("get a token", "the source's token expired at "+tok.Expiry.UTC().Format(time.RFC3339),
			"ask the issuing side to refresh this workspace, and check this machine's clock")
	} else if left < orDefault(c.MinLife, defaultMinLife) {
		return usererr.New("get a token", "the source's token expires at "+tok.Expiry.UTC().Format(time.RFC3339)+", too soon to use",
			"try again in a minute")
	}
	return nil
}

// complete records the outcome of a fetch and returns the result for the waiting callers.
// The caller holds mu.
func (c *Cache) complete(e *entry, tok Token, err error) (Token, error) {
	now := time.Now()
	e.tried = now
	if err == nil {
		e.token, e.failure, e.got = tok, nil, now
		e.refresh = c.refreshTime(tok)
		return tok, nil
	}
	e.refresh = now.Add(retryEarly + rand.N(retryEarly))
	if e.token.Expiry.Sub(now) > orDefault(c.MinLife, defaultMinLife) {
		return e.token.AsCached(), nil
	}
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		e.failure, e.failureUntil = err, now.Add(orDefault(c.Negative, defaultNegative))
	}
	return Token{}, err
}

// refreshTime returns when to replace a token in use: at Margin before its expiry, or
// up to twice that, so that many workspaces do not ask at the same time.
func (c *Cache) refreshTime(tok Token) time.Time {
	margin := orDefault(c.Margin, defaultMargin)
	at := tok.Expiry.Add(-margin - rand.N(margin))
	if soonest := time.Now().Add(time.Minute); at.Before(soonest) {
		return soonest // the source has not rotated yet: ask again, but not at once
	}
	return at
}

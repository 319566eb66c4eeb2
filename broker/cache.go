package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/clock"
)

// The defaults of a Cache.
const (
	minLife     = 5 * time.Minute  // no token with less time left is given, except during an outage of GitHub
	lastLife    = time.Minute      // and never one with less than this
	freshPart   = 4                // a token in use is replaced in the last quarter of its life
	negative    = 30 * time.Second // how long a refusal by GitHub is cached
	outage      = 3 * time.Second  // how long an outage is cached
	mintTimeout = 25 * time.Second // of one mint, even if all callers gave up
	sweepEvery  = time.Minute
)

// A Cache holds one token for each scope, in memory. Requests for one scope wait for
// one mint. A token is replaced before it expires; if that fails, the old one is given
// while it lasts. GitHub's refusals are cached for a short time.
type Cache struct {
	// Mint mints a token; see [New].
	Mint MintFunc
	// Shared has the tokens of other replicas; nil means that replicas do not share.
	Shared *Shared
	// Budget is asked before each mint, with the workspace that causes it. hasToken
	// says that the scope has a token that still works. An error stops the mint. nil
	// allows all.
	Budget func(workspace string, s Scope, hasToken bool) error
	Now    func() time.Time // nil means time.Now

	mu      sync.Mutex // guards the rest
	entries map[string]*entry
	swept   time.Time
	drops   int // number of calls of Drop
}

// entry is the cached state of one scope.
type entry struct {
	scope   Scope
	token   credential.Token
	ends    time.Time // when the token expires, by both clocks
	renew   time.Time // when the token's replacement is due; it is still given after that
	refusal error
	until   time.Time // when refusal expires
	again   time.Time // when to look again for another replica's token, while the budget allows no mint
	flight  *flight
}

func (c *Cache) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// Get returns a token for the scope that lasts at least ttl, if any token lasts that
// long. cached says that it was minted for an earlier request.
func (c *Cache) Get(ctx context.Context, workspace string, s Scope, ttl time.Duration) (t credential.Token, cached bool, err error) {
	least := max(minLife, ttl)
	for {
		f, t, err := c.begin(ctx, workspace, s, least)
		if f == nil {
			return t, true, err
		}
		select {
		case <-f.done:
			if c.isFor(f, workspace, least) {
				return f.token, f.isOld, f.err
			}
		case <-ctx.Done():
			return credential.Token{}, false, ctx.Err()
		}
	}
}

// begin returns a cached token, or the flight to wait for.
func (c *Cache) begin(ctx context.Context, workspace string, s Scope, least time.Duration) (*flight, credential.Token, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entry(s)
	isGood := !e.token.IsZero() && clock.Left(e.ends, c.now()) > least
	switch {
	case isGood && clock.Left(e.renew, c.now()) > 0:
		return nil, e.token, nil
	case e.refusal != nil && clock.Left(e.until, c.now()) > 0:
		t, err := c.fallback(e, e.refusal)
		return nil, t, err
	}
	f, err := c.join(ctx, workspace, e, least)
	switch {
	case isGood: // a flight, if one began, serves the next request
		return nil, e.token, nil
	case err != nil:
		t, err := c.fallback(e, err)
		return nil, t, err
	}
	return f, credential.Token{}, nil
}

// fallback returns the old token during an outage, if it still lasts for lastLife.
// After a refusal by GitHub it returns err. The caller holds mu.
func (c *Cache) fallback(e *entry, err error) (credential.Token, error) {
	r, ok := errors.AsType[*Refusal](err)
	isOutage := !ok || r.Status >= 500 || r.Status == 429
	if isOutage && !e.token.IsZero() && clock.Left(e.ends, c.now()) > lastLife {
		return e.token, nil
	}
	return credential.Token{}, err
}

// entry returns the scope's entry. The caller holds mu.
func (c *Cache) entry(s Scope) *entry {
	c.sweep()
	if c.entries == nil {
		c.entries = map[string]*entry{}
	}
	key := s.Key()
	if c.entries[key] == nil {
		c.entries[key] = &entry{scope: s}
	}
	return c.entries[key]
}

// sweep removes expired entries. The caller holds mu.
func (c *Cache) sweep() {
	now := c.now()
	if now.Sub(c.swept) < sweepEvery {
		return
	}
	c.swept = now
	for key, e := range c.entries {
		if e.flight == nil && clock.Left(e.ends, now) <= 0 && clock.Left(e.until, now) <= 0 {
			delete(c.entries, key)
		}
	}
}

// believe returns how long a failure is cached.
func (c *Cache) believe(err error) time.Duration {
	r, ok := errors.AsType[*Refusal](err)
	switch {
	case ok && r.Status < 500 && r.Status != 429:
		return negative
	case ok && r.RetryAfter > 0:
		return min(r.RetryAfter, time.Minute)
	}
	return outage
}

// renewal returns a random time in the last quarter of a token's life, at least minLife
// before its end: so tokens that were minted together are not all replaced together.
func renewal(life time.Duration, expiry time.Time) time.Time {
	latest := expiry.Add(-minLife)
	earliest := expiry.Add(-life / freshPart)
	if !earliest.Before(latest) {
		return latest
	}
	return earliest.Add(rand.N(latest.Sub(earliest)))
}

// Drop removes the tokens that match from the cache, and returns them so that the
// caller can revoke them. The next request gets a new token. A mint in progress still
// serves the callers that wait for it.
func (c *Cache) Drop(match func(Scope, credential.Token) bool) []credential.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	var dropped []credential.Token
	for key, e := range c.entries {
		if !match(e.scope, e.token) {
			continue
		}
		if !e.token.IsZero() {
			dropped = append(dropped, e.token)
		}
		delete(c.entries, key)
	}
	return dropped
}

// Live calls yield for every live token in the cache, for operators to see.
func (c *Cache) Live(yield func(Scope, credential.Token)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if clock.Left(e.ends, c.now()) > 0 {
			yield(e.scope, e.token)
		}
	}
}

// flight is one mint, or one search for another replica's token, that requests wait
// for.
type flight struct {
	workspace string        // the workspace that began it
	least     time.Duration // how long the token must last
	// scarce is why the budget refuses the workspace a mint; nil if it does not.
	scarce error

	done  chan struct{} // closed once the fields below are set
	token credential.Token
	isOld bool // another replica minted the token, earlier
	err   error
}

// join returns the flight in progress, or begins one. If the budget allows no mint, the
// flight only searches for another replica's token, and not too often. The caller holds
// mu.
func (c *Cache) join(ctx context.Context, workspace string, e *entry, least time.Duration) (*flight, error) {
	if e.flight != nil {
		return e.flight, nil
	}
	f := &flight{workspace: workspace, least: least, done: make(chan struct{})}
	if c.Budget != nil {
		hasToken := !e.token.IsZero() && clock.Left(e.ends, c.now()) > lastLife
		f.scarce = c.Budget(workspace, e.scope, hasToken)
	}
	if f.scarce != nil {
		if c.Shared == nil || clock.Left(e.again, c.now()) > 0 {
			return nil, f.scarce
		}
		e.again = c.now().Add(outage)
	}
	e.flight = f
	go c.fly(ctx, e, f)
	return f, nil
}

// isFor reports whether the result of a flight answers a request that waited for it. It
// does not if another workspace's budget was used up, or if the flight found another
// replica's token that is too short for this request.
func (c *Cache) isFor(f *flight, workspace string, least time.Duration) bool {
	if f.err != nil {
		return f.scarce == nil || f.workspace == workspace
	}
	return !f.isOld || f.least >= least || clock.Left(f.token.Expiry, c.now()) > least
}

// fly gets a token for all callers that wait. It goes on when one of them gives up.
func (c *Cache) fly(ctx context.Context, e *entry, f *flight) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mintTimeout)
	defer cancel()
	t, isOld, err := c.land(ctx, e.scope, f)
	defer c.mu.Unlock()
	e.flight = nil
	defer close(f.done)
	if err != nil {
		if f.scarce == nil {
			e.refusal, e.until = err, c.now().Add(c.believe(err))
		}
		f.token, f.err = c.fallback(e, err)
		return
	}
	life := t.Expiry.Sub(c.now())
	if isOld {
		life = max(life, credential.Lifetime)
	}
	e.refusal, e.token = nil, t
	e.ends = clock.Mark(t.Expiry, c.now())
	e.renew = renewal(life, e.ends)
	f.token, f.isOld = t, isOld
}

// land returns the token of a flight, and locks mu. Another replica's token may be
// marked as revoked after it was checked and before it is in the cache, where Drop
// would find it. So land searches again if Drop was called meanwhile.
func (c *Cache) land(ctx context.Context, s Scope, f *flight) (t credential.Token, isOld bool, err error) {
	c.mu.Lock()
	for {
		drops := c.drops
		c.mu.Unlock()
		t, isOld, err = c.obtain(ctx, s, f)
		c.mu.Lock()
		switch {
		case err != nil || !isOld || c.drops == drops:
			return t, isOld, err
		case ctx.Err() != nil:
			return credential.Token{}, false, StoreUnavailable(ctx.Err())
		}
	}
}

// obtain returns another replica's token, or mints one if the budget allows.
func (c *Cache) obtain(ctx context.Context, s Scope, f *flight) (t credential.Token, isOld bool, err error) {
	switch {
	case f.scarce != nil:
		t, err = c.Shared.Find(ctx, s, f.least)
		if err == nil && t.IsZero() {
			err = f.scarce
		}
		return t, true, err
	case c.Shared != nil:
		return c.Shared.Get(ctx, s, f.least, c.Mint)
	}
	m, err := c.Mint(ctx, s)
	return m.Token, false, err
}

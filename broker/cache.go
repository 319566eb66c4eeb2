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
	minLife     = 5 * time.Minute  // a token with less left is used only while GitHub is unavailable
	lastLife    = time.Minute      // a token with less left is never used
	freshPart   = 4                // a token in use is replaced in the last quarter of its life
	refusalLife = 30 * time.Second // how long a refusal of GitHub is remembered
	outageLife  = 3 * time.Second  // how long an outage is remembered
	mintTimeout = 25 * time.Second // of one mint
	sweepEvery  = time.Minute
)

// A Cache holds one token per scope in memory. Concurrent requests of one scope wait for one
// mint. A token is replaced before it expires; if that fails, the old one is used while it
// lasts. GitHub's refusals are remembered briefly.
type Cache struct {
	// Mint mints a token; see [New].
	Mint MintFunc
	// Shared finds tokens that other replicas minted; nil shares nothing.
	Shared *Shared
	// Budget is asked before each mint, for the workspace that caused it. hasToken says that
	// the scope still has a working token. nil allows every mint.
	Budget func(workspace string, s Scope, hasToken bool) error
	Now    func() time.Time // nil means time.Now

	mu      sync.Mutex // guards the rest
	entries map[string]*entry
	swept   time.Time
	drops   int // number of calls of Drop
}

// entry is the state of one scope.
type entry struct {
	scope   Scope
	token   credential.Token
	ends    time.Time // when the token expires, by wall and monotonic clock
	renew   time.Time // when the token is due for replacement
	refusal error
	until   time.Time // until when refusal is remembered
	again   time.Time // before this, no token of other replicas is searched for when the budget allows no mint
	flight  *flight
}

func (c *Cache) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// Get returns a token for the scope that lasts at least ttl, if any does. cached reports that
// it was minted earlier.
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

// begin returns a token from memory, or a flight to wait for.
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

// fallback returns the old token during an outage while it lasts. If GitHub refuses the
// grant, the old token is not used either. The caller holds mu.
func (c *Cache) fallback(e *entry, err error) (credential.Token, error) {
	r, ok := errors.AsType[*Refusal](err)
	isOutage := !ok || r.Status >= 500 || r.Status == 429
	if isOutage && !e.token.IsZero() && clock.Left(e.ends, c.now()) > lastLife {
		return e.token, nil
	}
	return credential.Token{}, err
}

// entry returns the state of a scope, made if necessary. The caller holds mu.
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

// rememberFor is how long a failure is remembered.
func (c *Cache) rememberFor(err error) time.Duration {
	r, ok := errors.AsType[*Refusal](err)
	switch {
	case ok && r.Status < 500 && r.Status != 429:
		return refusalLife
	case ok && r.RetryAfter > 0:
		return min(r.RetryAfter, time.Minute)
	}
	return outageLife
}

// renewal returns a random moment in the last quarter of a token's life, but at least minLife
// before its end. It differs per token, so that tokens minted together are not replaced
// together.
func renewal(life time.Duration, expiry time.Time) time.Time {
	latest := expiry.Add(-minLife)
	earliest := expiry.Add(-life / freshPart)
	if !earliest.Before(latest) {
		return latest
	}
	return earliest.Add(rand.N(latest.Sub(earliest)))
}

// Drop removes tokens from memory, and returns them so that the caller can revoke them. A
// running mint still answers those who wait for it.
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

// scopeOf returns the scope of a token in memory.
func (c *Cache) scopeOf(t credential.Token) (s Scope, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if !e.token.IsZero() && e.token.ID() == t.ID() {
			return e.scope, true
		}
	}
	return s, false
}

// Live calls yield for every token in memory that has not expired.
func (c *Cache) Live(yield func(Scope, credential.Token)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if clock.Left(e.ends, c.now()) > 0 {
			yield(e.scope, e.token)
		}
	}
}

// flight is one mint, or one search for a token of another replica, that requests wait for.
type flight struct {
	workspace string        // that started it
	minLife   time.Duration // that the token must last
	// scarce is why the workspace may cause no mint; nil if it may.
	scarce error

	done  chan struct{} // closed once the fields below are set
	token credential.Token
	isOld bool // another replica minted the token earlier
	err   error
}

// join returns the running flight, or starts one. If the budget allows no mint, the flight
// only searches for a token of another replica, at most every outageLife. The caller holds
// mu.
func (c *Cache) join(ctx context.Context, workspace string, e *entry, least time.Duration) (*flight, error) {
	if e.flight != nil {
		return e.flight, nil
	}
	f := &flight{workspace: workspace, minLife: least, done: make(chan struct{})}
	if c.Budget != nil {
		hasToken := !e.token.IsZero() && clock.Left(e.ends, c.now()) > lastLife
		f.scarce = c.Budget(workspace, e.scope, hasToken)
	}
	if f.scarce != nil {
		if c.Shared == nil || clock.Left(e.again, c.now()) > 0 {
			return nil, f.scarce
		}
		e.again = c.now().Add(outageLife)
	}
	e.flight = f
	go c.run(ctx, e, f)
	return f, nil
}

// isFor reports whether a flight's result answers a request that waited for it. It does not
// if the budget refused another workspace, or if the flight found a token that is too short
// for this request.
func (c *Cache) isFor(f *flight, workspace string, least time.Duration) bool {
	if f.err != nil {
		return f.scarce == nil || f.workspace == workspace
	}
	return !f.isOld || f.minLife >= least || clock.Left(f.token.Expiry, c.now()) > least
}

// run gets a token for all who wait. It continues when one of them gives up.
func (c *Cache) run(ctx context.Context, e *entry, f *flight) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mintTimeout)
	defer cancel()
	t, isOld, err := c.obtainUndropped(ctx, e.scope, f)
	defer c.mu.Unlock()
	e.flight = nil
	defer close(f.done)
	if err != nil {
		if f.scarce == nil {
			e.refusal, e.until = err, c.now().Add(c.rememberFor(err))
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

// obtainUndropped returns the token of a flight, and locks mu. Another replica's token may be
// revoked after it was checked and before it is in memory, where Drop would find it. If Drop
// was called meanwhile, it checks again.
func (c *Cache) obtainUndropped(ctx context.Context, s Scope, f *flight) (t credential.Token, isOld bool, err error) {
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

// obtain returns a token of another replica, or mints one if allowed.
func (c *Cache) obtain(ctx context.Context, s Scope, f *flight) (t credential.Token, isOld bool, err error) {
	switch {
	case f.scarce != nil:
		t, err = c.Shared.Find(ctx, s, f.minLife)
		if err == nil && t.IsZero() {
			err = f.scarce
		}
		return t, true, err
	case c.Shared != nil:
		return c.Shared.Get(ctx, s, f.minLife, c.Mint)
	}
	m, err := c.Mint(ctx, s)
	return m.Token, false, err
}

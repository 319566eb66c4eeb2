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
	minLife     = 5 * time.Minute  // no token with less left is given, unless GitHub cannot be had
	lastLife    = time.Minute      // and none with less than this, ever
	freshPart   = 4                // a token in use is replaced in the last quarter of its life
	negative    = 30 * time.Second // how long GitHub's refusal is believed
	outage      = 3 * time.Second  // how long an outage is
	mintTimeout = 25 * time.Second // of one mint, whoever still waits
	sweepEvery  = time.Minute
)

// A Cache keeps one token for each scope, in memory. Requests of one scope wait
// for one mint. A token is replaced ahead of its end; while that fails the old
// one is given for as long as it lasts. GitHub's refusals are remembered for a
// moment.
type Cache struct {
	// Mint makes a token; see [New].
	Mint MintFunc
	// Shared has what other replicas made; nil where nothing is shared.
	Shared *Shared
	// Budget is asked before GitHub is, on behalf of a workspace; hasToken says
	// that the scope has a token that still works. nil lets all through.
	Budget func(workspace string, s Scope, hasToken bool) error
	Now    func() time.Time // nil means time.Now

	mu      sync.Mutex // guards the rest
	entries map[string]*entry
	swept   time.Time
	drops   int // calls of Drop
}

// entry is what is known of one scope.
type entry struct {
	scope   Scope
	token   credential.Token
	ends    time.Time // the token does, by both clocks
	renew   time.Time // from when on the token is replaced, while it is still given
	refusal error
	until   time.Time // refusal holds
	again   time.Time // not before this another replica's token is looked for where none may be minted
	flight  *flight
}

func (c *Cache) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// Get returns a token for the scope that lasts at least ttl, unless no token
// does. cached says that it was made before.
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

// begin returns a token from memory, or the flight to wait for.
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
	case isGood: // the flight, if there is one, goes on for the next request
		return nil, e.token, nil
	case err != nil:
		t, err := c.fallback(e, err)
		return nil, t, err
	}
	return f, credential.Token{}, nil
}

// fallback is the token that still works, for a while, where no better one can
// be had. What GitHub does not grant any more is not given either. The caller
// holds mu.
func (c *Cache) fallback(e *entry, err error) (credential.Token, error) {
	r, ok := errors.AsType[*Refusal](err)
	isOutage := !ok || r.Status >= 500 || r.Status == 429
	if isOutage && !e.token.IsZero() && clock.Left(e.ends, c.now()) > lastLife {
		return e.token, nil
	}
	return credential.Token{}, err
}

// entry returns the one for a scope. The caller holds mu.
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

// sweep forgets what has run out. The caller holds mu.
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

// believe is how long a failure is remembered.
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

// renewal is a moment in the last quarter of a token's life, but for minLife: a
// different one for each, so that those made together are not replaced together.
func renewal(life time.Duration, expiry time.Time) time.Time {
	latest := expiry.Add(-minLife)
	earliest := expiry.Add(-life / freshPart)
	if !earliest.Before(latest) {
		return latest
	}
	return earliest.Add(rand.N(latest.Sub(earliest)))
}

// Drop forgets tokens, so that the next request gets a new one, and returns them
// so that they can be revoked. A mint under way is for those who wait already.
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

// Live calls yield for every token that works, for operators to look at.
func (c *Cache) Live(yield func(Scope, credential.Token)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if clock.Left(e.ends, c.now()) > 0 {
			yield(e.scope, e.token)
		}
	}
}

// flight is one mint, or look for what another replica minted, that requests wait for.
type flight struct {
	workspace string        // that it was begun for
	least     time.Duration // that the token has to last
	// scarce is why nothing may be minted for the workspace; nil where it may.
	scarce error

	done  chan struct{} // closed when the rest is set
	token credential.Token
	isOld bool // the token was made before, by another replica
	err   error
}

// join returns the flight under way, or begins one. Where the budget allows no mint, it is
// one that looks for what another replica made, now and then. The caller holds mu.
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

// isFor reports whether what came of a flight is an answer to a request that waited for
// it: neither that another workspace used up its share, nor another replica's token that
// was found for a request which needs less.
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

// land returns the token of a flight, and locks mu. A token that another replica made may
// be marked as revoked after it was looked at and before it is in memory, where Drop finds
// it: where tokens were dropped meanwhile, it is looked for again.
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

// obtain returns what another replica made, or mints where that may be.
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

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
	// Budget is asked before GitHub is, on behalf of a workspace; hasToken says
	// that the scope has a token that still works. nil lets all through.
	Budget func(workspace string, hasToken bool) error
	Now    func() time.Time // nil means time.Now

	mu      sync.Mutex // guards the rest
	entries map[string]*entry
	swept   time.Time
}

// entry is what is known of one scope.
type entry struct {
	scope   Scope
	token   credential.Token
	ends    time.Time // the token does, by both clocks
	renew   time.Time // from when on the token is replaced, while it is still given
	refusal error
	until   time.Time // refusal holds
	flight  *flight
}

// flight is one mint that requests wait for.
type flight struct {
	done  chan struct{} // closed when the others are set
	token credential.Token
	err   error
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
	c.mu.Lock()
	e := c.entry(s)
	left := clock.Left(e.ends, c.now())
	isGood := !e.token.IsZero() && left > max(minLife, ttl)
	switch {
	case isGood && clock.Left(e.renew, c.now()) > 0:
		t = e.token
		c.mu.Unlock()
		return t, true, nil
	case e.refusal != nil && clock.Left(e.until, c.now()) > 0:
		t, err = c.fallback(e, e.refusal)
		c.mu.Unlock()
		return t, true, err
	}
	f, err := c.join(ctx, workspace, e)
	if isGood || err != nil { // the mint, if there is one, goes on for the next request
		if t = e.token; !isGood {
			t, err = c.fallback(e, err)
		} else {
			err = nil
		}
		c.mu.Unlock()
		return t, true, err
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.token, false, f.err
	case <-ctx.Done():
		return credential.Token{}, false, ctx.Err()
	}
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

// join returns the mint under way, or begins one. The caller holds mu.
func (c *Cache) join(ctx context.Context, workspace string, e *entry) (*flight, error) {
	if e.flight != nil {
		return e.flight, nil
	}
	if c.Budget != nil {
		hasToken := !e.token.IsZero() && clock.Left(e.ends, c.now()) > lastLife
		if err := c.Budget(workspace, hasToken); err != nil {
			return nil, err
		}
	}
	e.flight = &flight{done: make(chan struct{})}
	go c.fly(ctx, e)
	return e.flight, nil
}

// fly mints for all who wait, whoever of them gives up.
func (c *Cache) fly(ctx context.Context, e *entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mintTimeout)
	defer cancel()
	m, err := c.Mint(ctx, e.scope)
	c.mu.Lock()
	defer c.mu.Unlock()
	f := e.flight
	e.flight = nil
	defer close(f.done)
	if err != nil {
		e.refusal, e.until = err, c.now().Add(c.believe(err))
		f.token, f.err = c.fallback(e, err)
		return
	}
	e.refusal, e.token = nil, m.Token
	e.ends = clock.Mark(m.Token.Expiry, c.now())
	e.renew = renewal(c.now(), e.ends)
	f.token = m.Token
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
func renewal(now, expiry time.Time) time.Time {
	life := expiry.Sub(now)
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

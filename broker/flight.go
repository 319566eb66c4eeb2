package broker

import (
	"context"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/clock"
)

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

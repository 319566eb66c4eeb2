package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

// Refresh fetches ahead of time the tokens that were used recently and expire soon, and
// forgets expired ones. The agent calls it from time to time. It does not wait for the
// fetches.
func (c *Cache) Refresh(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for key, e := range c.entries {
		switch {
		case e.flight != nil:
		case !e.token.IsZero() && now.After(e.token.Expiry):
			e.token = Token{}
		case e.token.IsZero() && now.Sub(e.used) > inUse:
			delete(c.entries, key)
		case !e.token.IsZero() && clock.Left(e.refresh, now) < 0 && now.Sub(e.used) < inUse:
			c.join(ctx, e)
		}
	}
	for r, until := range c.rejected {
		if now.After(until) {
			delete(c.rejected, r)
		}
	}
}

// Reject records that a server refused a secret. It drops the entry with exactly that
// secret, and the secret is not served again for the repository of req as long as it
// could be alive. Other entries stay, since another process may already have fetched a
// better token. It passes the rejection and req on to a source that is a [Rejecter].
func (c *Cache) Reject(req Request, secret string) { c.RejectPrint(req, fingerprint(secret)) }

// RejectPrint is like Reject, for a secret known by its [Token.Fingerprint].
func (c *Cache) RejectPrint(req Request, print string) {
	c.drop(rejection{print, req.Host, req.Path})
	if below, ok := c.Source.(Rejecter); ok {
		below.Reject(req, print)
	}
}

func (c *Cache) drop(r rejection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if !e.token.IsZero() && fingerprint(e.token.Secret()) == r.print {
			e.token, e.failure = Token{}, nil
			if c.lastRefused == nil {
				c.lastRefused = map[string]time.Time{}
			}
			c.lastRefused[e.host] = time.Now()
		}
	}
	if c.rejected == nil {
		c.rejected = make(map[rejection]time.Time)
	}
	if len(c.rejected) < maxRejected {
		c.rejected[r] = time.Now().Add(Lifetime)
	}
}

// IsSuspect reports whether the token for req was already cached when a server refused
// another token of the same host: all tokens of the workspace may have been revoked
// together. git finds that out by itself; a program that is handed a token does not.
func (c *Cache) IsSuspect(req Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[c.key(req)]
	return e != nil && !e.token.IsZero() && !e.got.After(c.lastRefused[e.host])
}

// Forget drops the token for req without marking it as rejected, for an erase without a
// secret.
func (c *Cache) Forget(req Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.Path != "" {
		delete(c.entries, c.key(req))
		return
	}
	for key, e := range c.entries {
		if e.host == req.Host {
			delete(c.entries, key)
		}
	}
}

// Held describes one token in a Cache, for display.
type Held struct {
	Host  string
	Path  string
	Token Token
	Used  time.Time
}

// Held lists the tokens in memory, in no particular order.
func (c *Cache) Held() []Held {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Held
	for _, e := range c.entries {
		if !e.token.IsZero() {
			list = append(list, Held{Host: e.host, Path: e.request.Path, Token: e.token, Used: e.used})
		}
	}
	return list
}

// Fingerprint identifies a token without revealing it: 128 bits of its SHA-256, in hex.
// git passes it from one call of the helper to the next.
func (t Token) Fingerprint() string { return fingerprint(t.Secret()) }

func fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:16])
}

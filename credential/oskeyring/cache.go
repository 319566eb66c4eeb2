package oskeyring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	// service is the service name of all entries of a Cache, so that a person can find
	// and delete them.
	service = "gatepass"

	margin   = 5 * time.Minute // a token with less left is replaced
	minLife  = time.Minute     // a token with less left is not served, even if it cannot be replaced
	pause    = time.Minute     // after a failure of the keyring, until the next attempt
	maxKnown = 4096
)

// A Cache is a Source that keeps the tokens of another Source in the keyring.
//
// Put it below a [credential.Cache], which answers from memory. The first request for a
// key reads the keyring; later ones only write it. A stored token is served while it
// has five minutes left, or one minute if the source fails. A keyring that fails costs
// at most one short wait a minute, and sets a [Cache.Warning]; the source is then asked
// as without a Cache.
type Cache struct {
	Source credential.Source
	// Scope is what tokens depend on apart from the host and the source's key: the
	// workspace file and its source. Tokens of another scope are never served.
	Scope string

	ring ring // nil means the system's

	mu       sync.Mutex           // guards the rest
	known    map[string]string    // from account to the fingerprint of the stored token; "" for none
	rejected map[string]time.Time // from fingerprint to the time at which it may be forgotten
	failure  error                // of the latest access; nil if it succeeded
	retry    time.Time            // when to try again after failure
}

// Key returns the source's key for req.
func (c *Cache) Key(req credential.Request) string { return credential.KeyOf(c.Source, req) }

// UsesOperation reports whether the source's tokens depend on what git does.
func (c *Cache) UsesOperation() bool {
	src, ok := c.Source.(interface{ UsesOperation() bool })
	return ok && src.UsesOperation()
}

// NeedsAgent reports whether the source holds something that is lost with the process.
func (c *Cache) NeedsAgent() bool {
	src, ok := c.Source.(interface{ NeedsAgent() bool })
	return ok && src.NeedsAgent()
}

// Upkeep calls the source's Upkeep, if it has one.
func (c *Cache) Upkeep(ctx context.Context) {
	if src, ok := c.Source.(interface{ Upkeep(context.Context) }); ok {
		src.Upkeep(ctx)
	}
}

// ReportPush passes the report of a refused push to the source, if the source takes
// reports.
func (c *Cache) ReportPush(ctx context.Context, p api.RefusedPush) error {
	if src, ok := c.Source.(interface {
		ReportPush(context.Context, api.RefusedPush) error
	}); ok {
		return src.ReportPush(ctx, p)
	}
	return nil
}

// Warning says why tokens are not stored in the keyring; nil if they are.
func (c *Cache) Warning() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		return nil
	}
	return &usererr.Error{
		Op: "cache: keyring", Reason: c.failure.Error() + ", so tokens are kept in memory only", Err: c.failure,
		Hint: remedyCache(c.failure),
	}
}

func remedyCache(err error) string {
	if errors.Is(err, errLocked) {
		return "unlock the keyring, or write cache: memory"
	}
	return "check that a keyring runs in this session, or write cache: memory"
}

// Token returns the stored token for req, or a token of the source, which it stores.
func (c *Cache) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	account := c.account(req)
	old := c.load(ctx, account)
	if credential.IsWithoutCache(ctx) {
		old = credential.Token{}
	}
	if time.Until(old.Expiry) > margin {
		return old.AsCached(), nil
	}
	tok, err := c.Source.Token(ctx, req)
	switch {
	case err == nil:
		c.store(ctx, account, req.Host, tok)
	case time.Until(old.Expiry) > minLife && !errors.Is(err, credential.ErrNoCredential):
		return old.AsCached(), nil
	}
	return tok, err
}

// Reject deletes exactly the token that a server refused from the keyring, and never
// stores it again.
func (c *Cache) Reject(req credential.Request, print string) {
	for _, account := range c.suspects(c.account(req), print) {
		c.access(context.Background(), func(ctx context.Context, r ring) error {
			value, _, err := r.get(ctx, item{service, account})
			if err != nil && !errors.Is(err, errAmbiguous) {
				return err
			}
			if tok, err := parse(value); err == nil && tok.Fingerprint() != print {
				return nil
			}
			return r.remove(ctx, item{service, account})
		})
	}
}

// suspects records that print is bad, and returns the accounts that may hold it.
func (c *Cache) suspects(account, print string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for p, until := range c.rejected {
		if now.After(until) {
			delete(c.rejected, p)
		}
	}
	if c.rejected == nil {
		c.rejected = make(map[string]time.Time)
	}
	if len(c.rejected) < maxKnown {
		c.rejected[print] = now.Add(credential.Lifetime)
	}
	list := []string{account}
	for a, p := range c.known {
		if p == print && a != account {
			list = append(list, a)
		}
	}
	return list
}

// account is the name of the entry for req. It is a hash, because a keyring shows the
// names of its entries even while it is locked.
func (c *Cache) account(req credential.Request) string {
	name := strconv.Quote(c.Scope) + strconv.Quote(req.Host) + strconv.Quote(c.Key(req))
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// load returns the stored token, or the zero Token. It also returns the zero Token if
// this account was asked for before: a second request wants a fresh token. It deletes
// an entry that is not a token, has expired or was rejected.
func (c *Cache) load(ctx context.Context, account string) credential.Token {
	if !c.first(account) {
		return credential.Token{}
	}
	var tok credential.Token
	c.access(ctx, func(ctx context.Context, r ring) error {
		value, _, err := r.get(ctx, item{service, account})
		if err == nil {
			tok, err = parse(value)
		}
		if err == nil && time.Now().Before(tok.Expiry) && !c.isRejected(tok) {
			c.note(account, tok.Fingerprint())
			return nil
		}
		tok = credential.Token{}
		if err != nil && !errors.Is(err, errNotOurs) && !errors.Is(err, errAmbiguous) {
			return err
		}
		return r.remove(ctx, item{service, account})
	})
	return tok
}

// store stores tok, unless the next agent could not use it.
func (c *Cache) store(ctx context.Context, account, host string, tok credential.Token) {
	if credential.CheckSecret(tok.Secret()) != nil || time.Until(tok.Expiry) <= margin || c.isRejected(tok) {
		return
	}
	value, err := format(tok)
	if err != nil {
		return // JSON can represent every token
	}
	c.access(ctx, func(ctx context.Context, r ring) error {
		if err := r.set(ctx, item{service, account}, "gatepass token for "+host, value); err != nil {
			return err
		}
		c.note(account, tok.Fingerprint())
		return nil
	})
}

// access calls do with the keyring, unless the keyring failed recently, and records the
// outcome for Warning.
func (c *Cache) access(ctx context.Context, do func(context.Context, ring) error) {
	r, ok := c.usable()
	if !ok {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := do(bounded, r)
	if errors.Is(err, errNotFound) {
		err = nil
	}
	if ctx.Err() != nil {
		return // the caller gave up, which says nothing about the keyring
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure, c.retry = err, time.Now().Add(pause)
}

func (c *Cache) usable() (ring, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ring == nil {
		c.ring = system()
	}
	return c.ring, c.failure == nil || time.Now().After(c.retry)
}

// first reports whether this is the first request for account.
func (c *Cache) first(account string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[account]; ok {
		return false
	}
	if c.known == nil || len(c.known) >= maxKnown {
		c.known = make(map[string]string)
	}
	c.known[account] = ""
	return true
}

func (c *Cache) note(account, print string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[account] = print
}

func (c *Cache) isRejected(tok credential.Token) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, bad := c.rejected[tok.Fingerprint()]
	return bad
}

package oidc

import (
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/fairshare"
)

const (
	// refreshAfter is the age from which the keys are fetched again in the background.
	refreshAfter = 5 * time.Minute
	// freshFor is the age from which a token waits for that fetch. So a key that the
	// issuer withdraws is refused after this time.
	freshFor  = 15 * time.Minute
	staleWait = 2 * time.Second
	// knownFor is how long keys are used while the issuer cannot be reached.
	knownFor = 24 * time.Hour
	// tryAgain is the least time between two fetches, whatever key ids tokens name.
	tryAgain = 10 * time.Second
	loadWait = 10 * time.Second

	// maxWaiting is how many tokens may wait for a fetch. Their senders are not known
	// yet.
	maxWaiting = 64

	retryAfter = 15 * time.Second // for callers
)

// errTooManyWaiting reports that too many requests wait for the keys.
var errTooManyWaiting = errors.New("too many tokens are waiting for them")

// A keyring caches an issuer's keys. It loads them again when they are old, or when a token
// names an unknown one.
type keyring struct {
	load func(context.Context) ([]byte, error) // the JWK Set
	now  func() time.Time

	waiting fairshare.Pool

	mu      sync.Mutex // guards what follows
	known   keySet
	loaded  time.Time     // when known was fetched
	tried   time.Time     // when the last load began
	running chan struct{} // closed when the load in progress ends; nil if there is none
	failure error         // of the last load
}

// newKeyring returns a keyring without keys.
func newKeyring(load func(context.Context) ([]byte, error), now func() time.Time) *keyring {
	return &keyring{load: load, now: now, waiting: fairshare.Pool{Size: maxWaiting}}
}

// suiting returns the keys for a token that came from an address. Fresh keys, and known keys
// while the issuer is unavailable, are returned without a wait. The error is one of
// [keySet.suiting], or a [*broker.Refusal] with 503 if the keys are unavailable.
func (k *keyring) suiting(ctx context.Context, from, kid, alg string) ([]crypto.PublicKey, error) {
	keys, _, age, failure := k.cached(kid, alg)
	if len(keys) > 0 && age < refreshAfter {
		return keys, nil
	}
	loading := k.start(ctx)
	var crowded error
	switch {
	case len(keys) == 0:
		crowded = k.wait(ctx, from, loading, loadWait+time.Second)
	case age > freshFor && failure == nil:
		_ = k.wait(ctx, from, loading, staleWait) // on a timeout the known keys are used
	}
	keys, why, _, failure := k.cached(kid, alg)
	if len(keys) > 0 {
		return keys, nil
	}
	failure = cmp.Or(failure, ctx.Err(), crowded)
	if failure != nil {
		return nil, unavailable("the keys of the token's issuer cannot be read", failure)
	}
	return nil, why
}

// cached returns the cached keys for a token or why there are none, their age, and why the last
// load failed.
func (k *keyring) cached(kid, alg string) (keys []crypto.PublicKey, why error, age time.Duration, failure error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age = clock.Since(k.loaded, k.now())
	if age > knownFor {
		k.known = keySet{}
	}
	keys, why = k.known.suiting(kid, alg)
	return keys, why, age, k.failure
}

// wait waits for the end of a load, for at most the duration most. It returns
// errTooManyWaiting if too many requests wait.
func (k *keyring) wait(ctx context.Context, from string, loading <-chan struct{}, most time.Duration) error {
	if loading == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	crowded := make(chan struct{})
	leave, ok := k.waiting.Acquire(from, 1, func() { close(crowded) })
	if !ok {
		return errTooManyWaiting
	}
	defer leave()
	select {
	case <-loading:
	case <-ctx.Done():
	case <-crowded:
		return errTooManyWaiting
	}
	return nil
}

// start begins a load unless one is running or the last one was too recent. It returns a
// channel that is closed when the running load ends; nil if none runs.
func (k *keyring) start(ctx context.Context) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if k.running != nil || !k.tried.IsZero() && now.Sub(k.tried) < tryAgain {
		return k.running
	}
	k.tried, k.running = now, make(chan struct{})
	go k.run(context.WithoutCancel(ctx)) // for all callers that wait, even if this one is canceled
	return k.running
}

func (k *keyring) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	var keys keySet
	data, err := k.load(ctx)
	if err == nil {
		keys, err = parseKeys(data)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = err
	if err == nil {
		k.known, k.loaded = keys, k.now()
	}
	close(k.running)
	k.running = nil
}

// unavailable is the refusal while an identity cannot be checked. err is for the log.
func unavailable(detail string, err error) error {
	return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonIdentity, RetryAfter: retryAfter, Detail: detail, Err: err}
}

const (
	// verifiedFor is how long a verified token is not verified again. Its claims, such as
	// its expiry, are still checked each time. A key that the issuer withdraws is
	// accepted for this much longer.
	verifiedFor = 30 * time.Second
	maxVerified = 20_000 // tokens; beyond it, tokens are verified each time
)

// verifiedCache remembers tokens whose signature was valid a moment ago: git sends the same
// one several times, and verifying it is half of the work of a request.
type verifiedCache struct {
	mu    sync.Mutex // guards the rest
	until map[[sha256.Size]byte]time.Time
	swept time.Time
}

func (h *verifiedCache) has(token string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return clock.Left(h.until[sha256.Sum256([]byte(token))], now) > 0
}

func (h *verifiedCache) add(token string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.swept) >= verifiedFor {
		h.swept = now
		for k, until := range h.until {
			if clock.Left(until, now) <= 0 {
				delete(h.until, k)
			}
		}
	}
	if h.until == nil {
		h.until = map[[sha256.Size]byte]time.Time{}
	}
	if len(h.until) < maxVerified {
		h.until[sha256.Sum256([]byte(token))] = now.Add(verifiedFor)
	}
}

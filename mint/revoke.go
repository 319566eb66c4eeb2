package mint

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/usererr"
)

// GitHub's servers learn of a new token one after the other. For some seconds, a server
// that does not know it yet refuses it
// (https://github.com/octokit/auth-app.js/issues/65, 589).
const (
	readLag     = 5 * time.Second // a refused read is retried while the token is younger than this
	proofAge    = time.Minute     // from this age on, a 401 proves that GitHub does not know a token
	lagWait     = time.Second     // between two tries
	revokeTries = 6
	wrongClock  = time.Minute // if a token's issue time is further in the future than this, a clock is wrong
)

// mintedAt returns when a token was minted, by the same clock as its expiry.
func mintedAt(t credential.Token) time.Time { return t.Expiry.Add(-credential.Lifetime) }

// isYounger reports whether less than age has passed since then, by our clock or by
// GitHub's. A store's own date may be by either.
func isYounger(since time.Time, age time.Duration, now, theirs time.Time) bool {
	isYoung := func(passed time.Duration) bool { return passed > -wrongClock && passed < age }
	return isYoung(clock.Since(since, now)) || isYoung(theirs.Sub(since))
}

// mayLag reports whether a read may have been refused by a server that does not know
// its token yet.
func (cl client) mayLag(c call, e *Error) bool {
	isLag := slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, e.Status) && e.Kind != RateLimited && e.Kind != Suspended && e.Kind != NotListed
	return isLag && !c.minted.IsZero() && isYounger(c.minted, readLag, cl.now(), cl.time())
}

// revokedTokens are the tokens that GitHub said it revoked, as long as a 401 does not prove
// that.
type revokedTokens struct {
	mu    sync.Mutex // guards the rest
	at    map[[sha256.Size]byte]time.Time
	swept time.Time
}

func (e *revokedTokens) add(t credential.Token, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == nil {
		e.at = map[[sha256.Size]byte]time.Time{}
	}
	if clock.Since(e.swept, now) > proofAge { // seldom: otherwise revoking many tokens would go through the whole map for each
		e.swept = now
		maps.DeleteFunc(e.at, func(_ [sha256.Size]byte, at time.Time) bool { return clock.Since(at, now) > proofAge+wrongClock })
	}
	e.at[sha256.Sum256([]byte(t.Secret()))] = now
}

func (e *revokedTokens) has(t credential.Token) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, is := e.at[sha256.Sum256([]byte(t.Secret()))]
	return is
}

// Revoke revokes a token at once. A token that GitHub no longer knows counts as
// revoked, except if it is younger than a minute, because GitHub may not know it yet.
// Revoke then retries for some seconds (an App with Once does not) and returns an
// [*Error] of kind [BadToken]; the caller must keep the token and revoke it again
// later.
func (a *App) Revoke(ctx context.Context, t credential.Token) error {
	rest := a.rest()
	for try := 1; ; try++ {
		_, err := rest.do(ctx, call{
			doing: "revoke a token", method: http.MethodDelete, want: http.StatusNoContent,
			url: "/installation/token", token: t.Secret(),
		})
		if err == nil {
			a.revoked.add(t, a.now())
			return nil
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != http.StatusUnauthorized {
			return err
		}
		if a.revoked.has(t) || !isYounger(mintedAt(t), proofAge, a.now(), a.Time()) {
			return nil
		}
		if try == revokeTries || !rest.sleep(ctx, lagWait) {
			return e
		}
	}
}

// revokeWait limits one attempt to take a token back, and takeBackWait all of them.
const (
	revokeTimeout   = 10 * time.Second
	takeBackTimeout = proofAge + 2*revokeTimeout
)

// TakeBack is like Revoke, for a token that the caller stores nowhere. It also works if
// ctx has ended. If GitHub may not know the token yet, it retries until the answer is a
// proof, for at most a little more than a minute. An App with Once tries once and
// returns nil: it remembers the token, and [App.Settle] tries again.
func (a *App) TakeBack(ctx context.Context, t credential.Token) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTimeout)
	defer cancel()
	for {
		err := a.revokeWithin(ctx, t)
		if err != nil && a.Once {
			a.pending.add(t)
			return nil
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != BadToken || !a.rest().sleep(ctx, lagWait) {
			return err
		}
	}
}

func (a *App) revokeWithin(ctx context.Context, t credential.Token) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	return a.Revoke(ctx, t)
}

// pendingRevokes are the tokens that an App with Once could not take back yet. They are only in
// memory: after a restart they expire by themselves.
type pendingRevokes struct {
	mu     sync.Mutex // guards tokens
	tokens []credential.Token
}

func (o *pendingRevokes) add(tokens ...credential.Token) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens = append(o.tokens, tokens...)
}

// take empties it and returns the tokens.
func (o *pendingRevokes) take() []credential.Token {
	o.mu.Lock()
	defer o.mu.Unlock()
	tokens := o.tokens
	o.tokens = nil
	return tokens
}

// Owed returns the number of tokens of an App with Once that must not be used and are
// not revoked yet.
func (a *App) Owed() int {
	a.pending.mu.Lock()
	defer a.pending.mu.Unlock()
	return len(a.pending.tokens)
}

// Settle revokes the tokens that [App.TakeBack] could not revoke. It returns the joined
// errors of those that remain; the caller must call it again later. It forgets tokens
// that have expired.
func (a *App) Settle(ctx context.Context) error {
	var failed []error
	left := slices.DeleteFunc(a.pending.take(), func(t credential.Token) bool {
		if !t.Expiry.After(a.Time()) {
			return true
		}
		err := a.revokeWithin(ctx, t)
		failed = append(failed, err)
		return err == nil
	})
	a.pending.add(left...)
	return usererr.Join(failed...)
}

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

// GitHub's servers learn of a new token one after the other. For some seconds those
// that have not heard of it refuse it
// (https://github.com/octokit/auth-app.js/issues/65, 589).
const (
	readLag     = 5 * time.Second // a refused read is tried again while the token is younger than this
	proofAge    = time.Minute     // that GitHub does not know a token proves something from this age on
	lagWait     = time.Second     // between two tries
	revokeTries = 6
	wrongClock  = time.Minute // a token that is to be made later than this from now tells of a clock that is wrong
)

// born is when a token was made, by the clock that its end is of.
func born(t credential.Token) time.Time { return t.Expiry.Add(-credential.Lifetime) }

// isYounger reports whether less than age has passed since then, by our clock or by
// GitHub's. A store's own date may be by either.
func isYounger(since time.Time, age time.Duration, now, theirs time.Time) bool {
	isYoung := func(passed time.Duration) bool { return passed > -wrongClock && passed < age }
	return isYoung(clock.Since(since, now)) || isYoung(theirs.Sub(since))
}

// mayLag reports whether a read was refused by a server that may not know its token
// yet.
func (a *App) mayLag(c call, e *Error) bool {
	isLag := slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, e.Status) && e.Kind != RateLimited && e.Kind != Suspended && e.Kind != NotListed
	return isLag && !c.made.IsZero() && isYounger(c.made, readLag, a.now(), a.Time())
}

// ended are the tokens that GitHub said it revoked, for as long as its 401 is no proof
// of that.
type ended struct {
	mu    sync.Mutex // guards the rest
	at    map[[sha256.Size]byte]time.Time
	swept time.Time
}

func (e *ended) add(t credential.Token, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == nil {
		e.at = map[[sha256.Size]byte]time.Time{}
	}
	if clock.Since(e.swept, now) > proofAge { // seldom, or revoking many at once would go through all of them for each
		e.swept = now
		maps.DeleteFunc(e.at, func(_ [sha256.Size]byte, at time.Time) bool { return clock.Since(at, now) > proofAge+wrongClock })
	}
	e.at[sha256.Sum256([]byte(t.Secret()))] = now
}

func (e *ended) has(t credential.Token) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, is := e.at[sha256.Sum256([]byte(t.Secret()))]
	return is
}

// Revoke ends a token at once. A token that GitHub does not know any more is as
// good as revoked, but not one that is younger than a minute, which GitHub may not
// know yet: it is tried again for some seconds (not by an App with Once), and then
// returned as an [*Error] of kind [BadToken]. The caller has to keep the token, and revoke it again later.
func (a *App) Revoke(ctx context.Context, t credential.Token) error {
	for try := 1; ; try++ {
		_, err := a.do(ctx, call{
			doing: "revoke a token", method: http.MethodDelete, want: http.StatusNoContent,
			url: a.base() + "/installation/token", token: t.Secret(),
		})
		if err == nil {
			a.ended.add(t, a.now())
			return nil
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != http.StatusUnauthorized {
			return err
		}
		if a.ended.has(t) || !isYounger(born(t), proofAge, a.now(), a.Time()) {
			return nil
		}
		if try == revokeTries || !a.sleep(ctx, lagWait) {
			return e
		}
	}
}

// revokeWait bounds one attempt to take a token back, and takeBackWait all of them.
const (
	revokeWait   = 10 * time.Second
	takeBackWait = proofAge + 2*revokeWait
)

// TakeBack is Revoke for a token that the caller keeps nowhere, also for a caller that
// has given up. Where GitHub may not know the token yet, it tries until its answer is
// proof, for more than a minute at most. An App with Once tries once and returns nil:
// it remembers the token, and [App.Settle] tries again.
func (a *App) TakeBack(ctx context.Context, t credential.Token) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackWait)
	defer cancel()
	for {
		err := a.revokeWithin(ctx, t)
		if err != nil && a.Once {
			a.owed.add(t)
			return nil
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != BadToken || !a.sleep(ctx, lagWait) {
			return err
		}
	}
}

func (a *App) revokeWithin(ctx context.Context, t credential.Token) error {
	ctx, cancel := context.WithTimeout(ctx, revokeWait)
	defer cancel()
	return a.Revoke(ctx, t)
}

// owed are the tokens that an App with Once could not take back yet. They are in
// memory only: after a restart they run out by themselves.
type owed struct {
	mu     sync.Mutex // guards tokens
	tokens []credential.Token
}

func (o *owed) add(tokens ...credential.Token) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens = append(o.tokens, tokens...)
}

// take empties it.
func (o *owed) take() []credential.Token {
	o.mu.Lock()
	defer o.mu.Unlock()
	tokens := o.tokens
	o.tokens = nil
	return tokens
}

// Owed returns how many tokens an App with Once made that must not be used and are not
// revoked yet.
func (a *App) Owed() int {
	a.owed.mu.Lock()
	defer a.owed.mu.Unlock()
	return len(a.owed.tokens)
}

// Settle revokes the tokens that [App.TakeBack] could not. It returns the errors of
// those that remain, joined; the caller comes again later. Tokens that have run out are
// forgotten.
func (a *App) Settle(ctx context.Context) error {
	var failed []error
	left := slices.DeleteFunc(a.owed.take(), func(t credential.Token) bool {
		if !t.Expiry.After(a.Time()) {
			return true
		}
		err := a.revokeWithin(ctx, t)
		failed = append(failed, err)
		return err == nil
	})
	a.owed.add(left...)
	return usererr.Join(failed...)
}

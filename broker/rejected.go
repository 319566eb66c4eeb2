package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
	"golang.org/x/sync/singleflight"
)

const (
	// rejectionAge is how long GitHub's servers may answer 401 to a new token that they do
	// not know yet.
	rejectionAge = time.Minute
	// verdictLife is how long GitHub's answer about a token is remembered. A workspace that
	// makes GitHub answer 401 causes at most one question per token in that time.
	verdictLife = time.Minute
	// verdictTimeout bounds one question and what follows from the answer.
	verdictTimeout = 5 * time.Second
	// maxVerdicts are remembered before old ones are removed.
	maxVerdicts = 1000
)

// verdicts are GitHub's answers about tokens.
type verdicts struct {
	flight singleflight.Group

	mu    sync.Mutex // guards known
	known map[credential.ID]verdict
}

type verdict struct {
	isDead bool
	at     time.Time
}

// Rejected is called after GitHub answered 401 to a request with a token of [Broker.Hold].
// It asks GitHub whether it still accepts the token, once for all concurrent callers and at
// most once a minute per token. If GitHub does not, Rejected drops the token for every
// workspace and replica that shares it, and returns true: the next request gets a new token.
// About a token younger than a minute it asks nothing, because GitHub may not know it yet.
// It returns within five seconds.
func (b *Broker) Rejected(ctx context.Context, t credential.Token) (isDead bool) {
	if b.TokenTime().Before(t.Expiry.Add(rejectionAge - credential.Lifetime)) {
		return false
	}
	dead, _, _ := b.verdicts.flight.Do(t.ID().String(), func() (any, error) {
		if known, ok := b.verdicts.of(t.ID(), b.Now()); ok {
			return known.isDead, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verdictTimeout)
		defer cancel()
		isAccepted, err := b.GitHub.Accepts(ctx, t)
		if err != nil {
			b.Log.WarnContext(ctx, "GitHub answered 401 to a token, and does not say whether it still accepts it", "hashed_token", t.Hash(), "error", err.Error())
		}
		isDead := err == nil && !isAccepted
		b.verdicts.add(t.ID(), verdict{isDead, b.Now()})
		if isDead {
			b.drop(ctx, t)
		}
		return isDead, nil
	})
	return dead.(bool)
}

// drop removes a dead token from memory. If other replicas share it, it is first marked as
// revoked, so that they drop it too and this one does not find it in the store.
func (b *Broker) drop(ctx context.Context, t credential.Token) {
	e := Entry{Time: b.Now().UTC(), Kind: KindRevoked, Subject: "github", App: t.App, Hash: t.Hash(), Expires: t.Expiry.UTC(), Detail: "GitHub does not accept the token any more; it is dropped"}
	if len(t.Repositories) == 1 {
		e.Repository = t.Repositories[0]
	}
	err := b.Journal.Write(ctx, e, false)
	if scope, ok := b.Cache.scopeOf(t); ok && b.Cache.Shared != nil && !scope.isOwn() {
		name, nameErr := ownName(scope, t)
		if nameErr == nil {
			nameErr = b.Blocklist.BlockToken(ctx, t, name)
		}
		if err == nil {
			err = nameErr
		}
	}
	b.Cache.Drop(func(_ Scope, held credential.Token) bool { return !held.IsZero() && held.ID() == t.ID() })
	if err != nil {
		b.Log.LogAttrs(ctx, slog.LevelError, "a token that GitHub does not accept any more is dropped, and not recorded as revoked", slog.String("hashed_token", t.Hash()), slog.String("error", err.Error()))
	}
}

// of returns the remembered answer about a token.
func (v *verdicts) of(id credential.ID, now time.Time) (known verdict, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok = v.known[id]
	return known, ok && now.Sub(known.at) < verdictLife
}

func (v *verdicts) add(id credential.ID, said verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil {
		v.known = map[credential.ID]verdict{}
	}
	if len(v.known) >= maxVerdicts {
		for old, known := range v.known {
			if said.at.Sub(known.at) >= verdictLife {
				delete(v.known, old)
			}
		}
	}
	v.known[id] = said
}

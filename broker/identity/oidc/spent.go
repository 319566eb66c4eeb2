package oidc

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

// maxSpent bounds how many tokens are remembered at once.
const maxSpent = 1 << 17

// spent takes a token once, at one of all brokers of a store: the store decides.
// What it has said is remembered, so that showing a token again and again costs
// no write.
type spent struct {
	store store.Store

	mu    sync.Mutex                      // guards until
	until map[[sha256.Size]byte]time.Time // of tokens that were taken
}

// use takes a token, the first time, of all that one issuer made.
func (s *spent) use(ctx context.Context, issuer, jti string, until, now time.Time) error {
	id := sha256.Sum256([]byte(issuer + "\n" + jti))
	if s.has(id, now) {
		return errSpent
	}
	won, err := store.Claim(ctx, s.store, store.Spent(id), until)
	if err != nil {
		return &broker.Refusal{
			Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, RetryAfter: retryAfter, Err: err,
			Detail: "the broker's store did not answer; the token may be spent",
		}
	}
	s.remember(id, until, now)
	if !won {
		return errSpent
	}
	return nil
}

var errSpent = &broker.Refusal{
	Status: http.StatusUnauthorized, Reason: broker.ReasonReplay,
	Detail: "the token was used before, and this broker takes each token once",
}

func (s *spent) has(id [sha256.Size]byte, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.until[id])
}

// remember makes room of tokens that have expired, and else forgets them all: the
// store knows them.
func (s *spent) remember(id [sha256.Size]byte, until, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.until) >= maxSpent {
		for other, end := range s.until {
			if !now.Before(end) {
				delete(s.until, other)
			}
		}
	}
	if s.until == nil || len(s.until) >= maxSpent {
		s.until = map[[sha256.Size]byte]time.Time{}
	}
	s.until[id] = until
}

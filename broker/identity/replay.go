package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

const (
	// maxKnown is how many proofs are remembered.
	maxKnown    = 1 << 17
	retryReplay = 5 * time.Second
)

// ErrSpent reports that a proof was used before.
var ErrSpent = errors.New("it was shown before")

// A ReplayCache detects reuse of single-use proofs. The store decides. Its answers are
// cached, so that repeated reuse costs no write. Without a Store, every proof is
// refused.
type ReplayCache struct {
	Store store.Store

	mu    sync.Mutex                      // guards until
	until map[[sha256.Size]byte]time.Time // when a used proof expires, and is refused for its age
}

// MarkUsed returns ErrSpent unless this is the first call, at any broker, with this
// kind and text. until is when the proof expires. If the store does not answer, it
// returns a [*broker.Refusal]; the proof may be used up then.
func (s *ReplayCache) MarkUsed(ctx context.Context, kind, text string, until, now time.Time) error {
	id := idOf(kind, text)
	if s.has(id, now) {
		return ErrSpent
	}
	if s.Store == nil {
		return unanswered(errors.New("there is no store"))
	}
	won, err := store.Claim(ctx, s.Store, store.Spent(id), until)
	if err != nil {
		return unanswered(err)
	}
	s.remember(id, until, now)
	if !won {
		return ErrSpent
	}
	return nil
}

// Seen reports whether MarkUsed would return ErrSpent without asking the store. If it
// reports false, the proof may still have been used.
func (s *ReplayCache) Seen(kind, text string, now time.Time) bool {
	return s.has(idOf(kind, text), now)
}

func idOf(kind, text string) [sha256.Size]byte { return sha256.Sum256([]byte(kind + "\n" + text)) }

func unanswered(err error) error {
	return &broker.Refusal{
		Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, RetryAfter: retryReplay, Err: err,
		Detail: "the broker's store did not answer; the proof may be spent",
	}
}

func (s *ReplayCache) has(id [sha256.Size]byte, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.until[id])
}

// remember adds a proof. If the cache is full, it first removes expired proofs. If more
// than half remain, it clears the cache, because the store has them all; so it seldom
// scans the cache.
func (s *ReplayCache) remember(id [sha256.Size]byte, until, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.until) >= maxKnown {
		for other, end := range s.until {
			if !now.Before(end) {
				delete(s.until, other)
			}
		}
		if len(s.until) > maxKnown/2 {
			s.until = nil
		}
	}
	if s.until == nil {
		s.until = map[[sha256.Size]byte]time.Time{}
	}
	s.until[id] = until
}

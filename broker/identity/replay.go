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

// ErrUsed reports that a proof was used before.
var ErrUsed = errors.New("it was used before")

// A ReplayCache detects reuse of single-use proofs across all brokers that share a store. The
// store decides; its answers are remembered, so that repeated use causes no writes. Without a
// Store, every proof is refused.
type ReplayCache struct {
	Store store.Store

	mu    sync.Mutex                      // guards until
	until map[[sha256.Size]byte]time.Time // when a used proof expires, and is refused for its age
}

// MarkUsed returns ErrUsed unless this is the first call with that kind and text at any
// broker. From until on, the proof is refused because of its age. If the store does not
// answer, the error is a [*broker.Refusal], and the proof may be used up.
func (s *ReplayCache) MarkUsed(ctx context.Context, kind, text string, until, now time.Time) error {
	id := idOf(kind, text)
	if s.has(id, now) {
		return ErrUsed
	}
	if s.Store == nil {
		return unanswered(errors.New("there is no store"))
	}
	won, err := store.Claim(ctx, s.Store, store.UsedProof(id), until)
	if err != nil {
		return unanswered(err)
	}
	s.remember(id, until, now)
	if !won {
		return ErrUsed
	}
	return nil
}

// Seen reports whether MarkUsed would return ErrUsed without asking the store. False means
// unknown.
func (s *ReplayCache) Seen(kind, text string, now time.Time) bool {
	return s.has(idOf(kind, text), now)
}

func idOf(kind, text string) [sha256.Size]byte { return sha256.Sum256([]byte(kind + "\n" + text)) }

func unanswered(err error) error {
	return &broker.Refusal{
		Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, RetryAfter: retryReplay, Err: err,
		Detail: "the broker's store did not answer; the proof may be used up",
	}
}

func (s *ReplayCache) has(id [sha256.Size]byte, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.until[id])
}

// remember removes expired proofs to make room. If more than half remain it removes them all,
// because the store knows them, so that it seldom scans the whole map.
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

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
	// maxKnown bounds how many proofs are remembered at once.
	maxKnown    = 1 << 17
	retryReplay = 5 * time.Second
)

// ErrUsed reports that a proof was shown before.
var ErrUsed = errors.New("it was shown before")

// A ReplayCache is what was shown. The store decides; what it has said is remembered, so
// that showing a proof again and again costs no write. Without a Store, nothing is
// taken.
type ReplayCache struct {
	Store store.Store

	mu    sync.Mutex                      // guards until
	until map[[sha256.Size]byte]time.Time // of what was shown, when it is refused anyway
}

// Take returns ErrUsed unless this is the first call, at any broker, with that
// kind and text. From until on the proof is refused for its age. A store that does
// not answer is a [*broker.Refusal]; the proof may be spent then.
func (s *ReplayCache) MarkUsed(ctx context.Context, kind, text string, until, now time.Time) error {
	id := idOf(kind, text)
	if s.has(id, now) {
		return ErrUsed
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
		return ErrUsed
	}
	return nil
}

// Knows reports what Take would return ErrUsed for without asking the store. That it
// does not says nothing.
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

// remember makes room of proofs that are too old by now. Where that is less than half of
// them it forgets them all, since the store knows them: so it seldom looks at all of them.
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

package oidc

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// maxSpent bounds how many tokens are remembered at once.
const maxSpent = 1 << 17

// spent remembers tokens that were taken once, until they have expired. It is of
// one process: replicas do not tell each other.
type spent struct {
	mu     sync.Mutex // guards what follows
	until  map[[sha256.Size]byte]time.Time
	looked time.Time // for expired ones
}

// use takes a token, the first time. Where no more can be remembered, none is
// taken.
func (s *spent) use(jti string, until, now time.Time) error {
	id := sha256.Sum256([]byte(jti))
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.until[id]) {
		return errors.New("the token was used before, and this broker takes each token once")
	}
	if len(s.until) >= maxSpent && now.Sub(s.looked) > tryAgain {
		s.looked = now
		for other, end := range s.until {
			if !now.Before(end) {
				delete(s.until, other)
			}
		}
	}
	if len(s.until) >= maxSpent {
		return unavailable("the broker cannot remember more tokens that were used", nil)
	}
	if s.until == nil {
		s.until = map[[sha256.Size]byte]time.Time{}
	}
	s.until[id] = until
	return nil
}

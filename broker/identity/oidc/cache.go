package oidc

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

const (
	// heldTime is how long a signature that held is believed, to the letter of
	// the token. What the token claims, its end above all, is looked at each
	// time; a key that the issuer withdraws counts for so much longer.
	heldTime = 30 * time.Second
	maxHeld  = 20_000 // tokens; more are verified each time
)

// held remembers tokens whose signature held a moment ago: git asks several times
// with the same one, and verifying it is half of the work of an answer.
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
	if now.Sub(h.swept) >= heldTime {
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
	if len(h.until) < maxHeld {
		h.until[sha256.Sum256([]byte(token))] = now.Add(heldTime)
	}
}

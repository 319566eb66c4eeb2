package broker

import (
	"net/http"
	"sync/atomic"
	"time"
)

// maxReaders is for bodies that come with their headers, as all do but those of
// who wants to be in the way.
const maxReaders = 64

// Readers bounds how many bodies are read at once of requests that nobody can be
// made of before: each holds a place among all requests for as long as it comes.
type Readers struct{ running atomic.Int32 }

// Enter counts a body in, or refuses it. Leave has to follow where it did.
func (r *Readers) Enter() error {
	if r.running.Add(1) <= maxReaders {
		return nil
	}
	r.Leave()
	return &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonLimit, RetryAfter: time.Second, Detail: "too many requests are being read at once"}
}

// Leave counts a body out.
func (r *Readers) Leave() { r.running.Add(-1) }

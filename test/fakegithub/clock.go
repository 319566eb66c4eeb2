package fakegithub

import (
	"sync/atomic"
	"time"
)

// A clock is real time, or the caller's, moved on by Advance.
type clock struct {
	base   func() time.Time // nil means time.Now
	offset atomic.Int64     // nanoseconds
}

func (c *clock) now() time.Time {
	base := time.Now
	if c.base != nil {
		base = c.base
	}
	return base().Add(time.Duration(c.offset.Load())).UTC()
}

// Now is the time this GitHub believes it is.
func (s *Server) Now() time.Time { return s.clock.now() }

// Advance moves this GitHub's clock by d, which may be negative. Tokens expire
// and JWTs are judged by it; certificates are not.
func (s *Server) Advance(d time.Duration) { s.clock.offset.Add(int64(d)) }

// timestamp is the form of every time in GitHub's JSON.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

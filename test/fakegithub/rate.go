package fakegithub

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	rateLimit          = 5000 // requests an hour of an App or installation
	anonymousRateLimit = 60
)

// A rateWindow counts the requests of one principal in the current hour.
type rateWindow struct {
	resource    string // core or graphql
	limit, used int
	reset       time.Time
}

func (w rateWindow) remaining() int { return max(0, w.limit-w.used) }

// window returns the current hour of who calls, for the part of the API that is called;
// the caller holds s.mu.
func (c call) window() *rateWindow {
	if p := c.r.URL.Path; p == "/graphql" || p == "/api/graphql" {
		return c.s.windowOf("graphql", c.principal())
	}
	return c.s.windowOf("core", c.principal())
}

func (s *Server) windowOf(resource, principal string) *rateWindow {
	now, key := s.Now(), resource+" "+principal
	w := s.state.usage[key]
	if w == nil || !now.Before(w.reset) {
		w = &rateWindow{resource: resource, limit: s.limitOf(principal), reset: now.Add(time.Hour).Truncate(time.Second)}
		s.state.usage[key] = w
	}
	return w
}

func (s *Server) limitOf(principal string) int {
	switch {
	case principal == anonymous:
		return anonymousRateLimit
	case s.opts.RateLimit > 0:
		return s.opts.RateLimit
	}
	return rateLimit
}

// spend counts one request and refuses the one too many.
func (w *rateWindow) spend(principal string) *refusal {
	w.used++
	if w.used <= w.limit {
		return nil
	}
	return refuse(http.StatusForbidden, fmt.Sprintf("API rate limit exceeded for %s.", principal))
}

func (w rateWindow) writeTo(h http.Header) {
	h.Set("X-RateLimit-Limit", strconv.Itoa(w.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(w.remaining()))
	h.Set("X-RateLimit-Used", strconv.Itoa(min(w.used, w.limit)))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(w.reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", w.resource)
}

func (w rateWindow) answer() object {
	return object{"limit": w.limit, "used": min(w.used, w.limit), "remaining": w.remaining(), "reset": w.reset.Unix()}
}

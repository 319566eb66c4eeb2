package fakegithub

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	rateLimit          = 5000 // requests per hour of an App or installation
	anonymousRateLimit = 60
)

// A rateWindow counts the requests of one principal in the current hour.
type rateWindow struct {
	resource    string // core or graphql
	limit, used int
	reset       time.Time
}

func (w rateWindow) remaining() int { return max(0, w.limit-w.used) }

// window returns the caller's current hour for the called part of the API. The caller
// of window must hold s.mu.
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

// spend counts one request, and refuses it if it exceeds the limit.
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

// SecondaryLimit is how many points GitHub lets one caller spend in a minute
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits).
// GitHub counts them by endpoint; this double counts all together, which is stricter.
const SecondaryLimit = 900

const pointsWindow = time.Minute

// A spending is one request that was allowed.
type spending struct {
	at     time.Time
	points int
}

// costOf returns the points that GitHub's documentation gives for most requests.
func costOf(method string) int {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return 1
	}
	return 5
}

// spendPoints counts one request for the secondary limit, and refuses it if too few
// points are left. A refused request costs nothing. The caller must hold s.mu.
func (c *call) spendPoints(principal string) *refusal {
	limit := c.s.opts.PointsPerMinute
	if limit <= 0 {
		return nil
	}
	now, cost := c.s.Now(), costOf(c.r.Method)
	spent := slices.DeleteFunc(c.s.state.points[principal], func(p spending) bool { return !now.Before(p.at.Add(pointsWindow)) })
	c.s.state.points[principal] = spent
	if wait := waitFor(spent, limit-cost, now); wait > 0 {
		return SecondaryRateLimited(wait).refusal
	}
	c.s.state.points[principal] = append(spent, spending{now, cost})
	return nil
}

// waitFor returns how long it takes until at most most points of spent are from the
// last minute.
func waitFor(spent []spending, most int, now time.Time) time.Duration {
	total := 0
	for _, p := range spent {
		total += p.points
	}
	for _, p := range spent {
		if total <= most {
			return 0
		}
		if total -= p.points; total <= most {
			return p.at.Add(pointsWindow).Sub(now)
		}
	}
	if total > most {
		return pointsWindow // one request costs more than the limit
	}
	return 0
}

// A lag is how long the servers behind this GitHub do not know a new token, and what
// they answer until then.
type lag struct {
	d     time.Duration
	reads int // status of the answers to reads
}

// SetLag makes this GitHub learn of new tokens late
// (https://github.com/octokit/auth-app.js/issues/65). For d after it is made, a token
// that is made from now on is answered with status (401, 403 or 404) by reads of the
// REST API, and with 401 by everything else, including DELETE /installation/token. The
// token lives all the same, and a refused DELETE revokes nothing. A d of 0 turns this
// off. Existing tokens keep their lag.
func (s *Server) SetLag(d time.Duration, status int) error {
	if d < 0 {
		return fmt.Errorf("a lag is not negative: %s", d)
	}
	if status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusNotFound {
		return fmt.Errorf("GitHub answers 401, 403 or 404 for a token that it does not know yet, not %d", status)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.lag = lag{d, status}
	return nil
}

// isUnknownYet reports whether the servers do not know the token yet.
func (s *Server) isUnknownYet(t *issued) bool {
	return s.Now().Before(t.created.Add(t.lag.d))
}

// unknownYet returns the refusal of a REST request whose token is too new; nil if it is
// not.
func (c *call) unknownYet() *refusal {
	if !c.s.isUnknownYet(c.token) {
		return nil
	}
	switch {
	case c.r.Method != http.MethodGet || c.token.lag.reads == http.StatusUnauthorized:
		return refuse(http.StatusUnauthorized, msgBadCredentials)
	case c.token.lag.reads == http.StatusForbidden:
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	return refuse(http.StatusNotFound, "Not Found")
}

// conditional adds an ETag to the answer to a GET, and turns it into a 304 if the
// caller has it already. As at GitHub, a 304 does not count for the rate limit.
func (c call) conditional(header http.Header, a answer) answer {
	if c.r.Method != http.MethodGet || a.status != http.StatusOK {
		return a
	}
	if _, page := a.body.(webPage); page {
		return a
	}
	raw, err := json.Marshal(a.body)
	if err != nil {
		return a
	}
	sum := sha256.Sum256(raw)
	tag := fmt.Sprintf(`"%x"`, sum)
	header.Set("ETag", "W/"+tag)
	header.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	header.Set("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP")
	if !strings.Contains(c.r.Header.Get("If-None-Match"), tag) {
		return a
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	w := c.window()
	w.used = max(0, w.used-1)
	w.writeTo(header)
	return answer{status: http.StatusNotModified, header: a.header}
}

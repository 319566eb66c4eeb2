package fakegithub

import (
	"fmt"
	"net/http"
	"time"
)

// A lag is how long the servers behind this GitHub do not know a new token, and
// what they answer meanwhile.
type lag struct {
	d     time.Duration
	reads int // the status that reads are answered with
}

// SetLag has this GitHub answer as one whose servers learn of a new token late
// (https://github.com/octokit/auth-app.js/issues/65): for d after it was made, a
// token that is made from now on is answered status, which is 401, 403 or 404,
// where the REST API is read, and 401 by all else, DELETE /installation/token
// among it. The token lives all the same, and a DELETE that was refused ended
// nothing. A d of 0 turns that off. Tokens that are there keep the lag of when
// they were made.
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

// isUnknownYet reports whether the servers have not heard of the token.
func (s *Server) isUnknownYet(t *issued) bool {
	return s.Now().Before(t.created.Add(t.lag.d))
}

// unknownYet is the refusal of a REST request whose token is too new; nil where
// it is not.
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

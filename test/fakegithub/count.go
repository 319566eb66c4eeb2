package fakegithub

import "crypto/sha256"

// Counts are how often something happened since New. What tests do by methods of
// Server, as MintFor and Revoke, is not counted.
type Counts struct {
	Mints       int // tokens that POST /app/installations/ID/access_tokens made
	Revokes     int // tokens that DELETE /installation/token ended
	JWTs        int // different App JWTs with a right signature: how often Apps signed
	RateLimited int // requests refused for a rate limit; those of Fail are not counted
}

// Counts returns the counts so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.counts
}

// countJWT counts a JWT that is seen for the first time; the caller holds s.mu.
func (s *Server) countJWT(compact string) {
	key := tokenKey(sha256.Sum256([]byte(compact)))
	if !s.state.jwts[key] {
		s.state.jwts[key] = true
		s.state.counts.JWTs++
	}
}

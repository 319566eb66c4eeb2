package fakegithub

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"time"
)

// A Request is one request that the server has received, without any secret.
type Request struct {
	Time    time.Time // by the server's clock
	Method  string
	Host    string // host of URL or of StorageURL
	Path    string // escaped, as sent, including /api/v3
	Query   string // "" at the storage host, where it is a secret
	Status  int    // 0 while it runs, or if it was cut off before an answer
	Auth    string // "", "basic", "bearer", "token" or "unknown"
	Hash    string // Hash of the presented token or JWT; empty without one
	Chunked bool   // the body came without a length

	ContentLength   int64 // -1 when chunked
	ContentEncoding string
	GitProtocol     string
	UserAgent       string
}

// record records the request at once, and its status later.
func (s *Server) record(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	cred := credentialOf(r)
	req := &Request{
		Time: s.Now(), Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
		Auth: cred.scheme, Chunked: r.ContentLength < 0, ContentLength: r.ContentLength,
		ContentEncoding: r.Header.Get("Content-Encoding"),
		GitProtocol:     r.Header.Get("Git-Protocol"),
		UserAgent:       r.Header.Get("User-Agent"),
	}
	if s.isForStorage(r) {
		req.Query = ""
	}
	if cred.secret != "" {
		req.Hash = Hash(cred.secret)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, req)
	return &statusWriter{ResponseWriter: w, s: s, req: req}
}

// A statusWriter records the status before the client can see it, so that the request
// is complete when a test has its answer.
type statusWriter struct {
	http.ResponseWriter
	s   *Server
	req *Request
}

func (w *statusWriter) WriteHeader(status int) {
	w.s.mu.Lock()
	if w.req.Status == 0 {
		w.req.Status = status
	}
	w.s.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	if w.req.Status == 0 {
		w.req.Status = http.StatusOK
	}
	w.s.mu.Unlock()
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Requests returns the requests so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, len(s.requests))
	for i, r := range s.requests {
		out[i] = *r
	}
	return out
}

// Count counts the requests that match.
func (s *Server) Count(match func(Request) bool) int {
	n := 0
	for _, r := range s.Requests() {
		if match(r) {
			n++
		}
	}
	return n
}

// ResetRequests drops the recorded requests.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = slices.Clip(s.requests[:0:0])
}

// Counts are how often something happened since New. Calls of the Server's methods by
// tests, such as MintFor and Revoke, are not counted.
type Counts struct {
	Mints       int // tokens that POST /app/installations/ID/access_tokens made
	Revokes     int // tokens that DELETE /installation/token revoked
	JWTs        int // different App JWTs with a valid signature: how often Apps signed
	RateLimited int // requests refused by a rate limit, except those of Fail
}

// Counts returns the counts so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.counts
}

// countJWT counts a JWT that is new. The caller must hold s.mu.
func (s *Server) countJWT(compact string) {
	key := tokenKey(sha256.Sum256([]byte(compact)))
	if !s.state.jwts[key] {
		s.state.jwts[key] = true
		s.state.counts.JWTs++
	}
}

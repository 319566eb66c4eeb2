package fakegithub

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Fault is one way in which a request fails. Make it with Status, RateLimited,
// SecondaryRateLimited, NotOnIPAllowList, PushReport, Reset, Slow or Truncate.
type Fault struct {
	refusal  *refusal
	report   []byte // the answer to a push
	reset    bool
	slow     time.Duration
	truncate int // bytes of the body that get through; -1 means all
}

// Status answers with the status and GitHub's text for it, if there is one.
func Status(code int) Fault {
	return Fault{refusal: refuse(code, statusText(code)), truncate: -1}
}

func statusText(code int) string {
	switch code {
	case http.StatusUnauthorized:
		return msgBadCredentials
	case http.StatusInternalServerError:
		return "Server Error"
	}
	return http.StatusText(code)
}

// RateLimited answers 429 with Retry-After.
func RateLimited(retryAfter time.Duration) Fault {
	f := Status(http.StatusTooManyRequests)
	f.refusal.message = "API rate limit exceeded"
	return f.retryAfter(retryAfter)
}

// SecondaryRateLimited answers 403 with Retry-After, as GitHub does to a caller that is
// too fast. A negative retryAfter omits the header, as GitHub may.
func SecondaryRateLimited(retryAfter time.Duration) Fault {
	f := Status(http.StatusForbidden)
	f.refusal.message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
	f.refusal.docs = "https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	if retryAfter < 0 {
		return f
	}
	return f.retryAfter(retryAfter)
}

// NotOnIPAllowList answers as GitHub does if an organization's IP allow list lacks the
// caller's address.
func NotOnIPAllowList(organization string) Fault {
	f := Status(http.StatusForbidden)
	f.refusal.message = "Although you appear to have the correct authorization credentials, the `" + organization +
		"` organization has an IP allow list enabled, and your IP address is not permitted to access this resource."
	return f
}

// retryAfter sets the header in whole seconds, rounded up.
func (f Fault) retryAfter(d time.Duration) Fault {
	f.refusal.header = http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(d.Seconds())))}}
	return f
}

// PushReport answers a push without moving any ref, over the side-band: with the text
// that git shows after "remote: ", in pieces, and the lines of the report, such as "ng
// refs/heads/main no". The client must have requested side-band-64k.
func PushReport(text string, lines ...string) Fault {
	var out []byte
	band := func(number byte, payload string) {
		out = fmt.Appendf(out, "%04x%c%s", len(payload)+5, number, payload)
	}
	for piece := range slices.Chunk([]byte(text), 100) { // servers send a hook's output piece by piece
		band(2, string(piece))
	}
	report := pkt("unpack ok\n")
	for _, line := range lines {
		report += pkt(line + "\n")
	}
	band(1, report+"0000")
	return Fault{report: append(out, "0000"...), truncate: -1}
}

func pkt(line string) string { return fmt.Sprintf("%04x%s", len(line)+4, line) }

// Reset breaks the connection without an answer.
func Reset() Fault { return Fault{reset: true, truncate: -1} }

// Slow answers correctly, but d later.
func Slow(d time.Duration) Fault { return Fault{slow: d, truncate: -1} }

// Truncate answers correctly, but breaks the connection after n bytes of the body. A
// shorter body gets through.
func Truncate(n int) Fault { return Fault{truncate: max(n, 0)} }

// To matches requests by method and the end of their path. An empty method
// matches all.
func To(method, pathSuffix string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return (method == "" || r.Method == method) && strings.HasSuffix(r.URL.EscapedPath(), pathSuffix)
	}
}

type fault struct {
	Fault
	match func(*http.Request) bool
	left  int // how many more requests it affects; negative means all
}

// Fail makes the next matching requests fail, times times, or until cancel is called if
// times is negative. If several faults match, the oldest one applies. match must not
// call the Server.
func (s *Server) Fail(match func(*http.Request) bool, f Fault, times int) (cancel func()) {
	added := &fault{Fault: f, match: match, left: times}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, added)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(o *fault) bool { return o == added })
	}
}

// nextFault uses one turn of the first fault that matches.
func (s *Server) nextFault(r *http.Request) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.left != 0 && f.match(r) {
			f.left = max(f.left-1, -1)
			return f.Fault
		}
	}
	return Fault{truncate: -1}
}

// withFaults runs a handler with the fault that applies to the request.
func (s *Server) withFaults(w http.ResponseWriter, r *http.Request, h http.HandlerFunc) {
	pause(r.Context(), s.opts.Delay)
	f := s.nextFault(r)
	pause(r.Context(), f.slow)
	switch {
	case f.reset:
		reset(w)
	case f.report != nil:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
		_, _ = w.Write(f.report)
	case f.refusal != nil:
		s.refuseFor(w, r, f.refusal)
	case f.truncate >= 0:
		cut := &cutter{ResponseWriter: w, left: f.truncate}
		h(cut, r)
		cut.finish()
	default:
		h(w, r)
	}
}

func (s *Server) refuseFor(w http.ResponseWriter, r *http.Request, no *refusal) {
	_, isGit := parseGitPath(r.URL.EscapedPath())
	_, isLFS := parseLFSPath(r.URL.EscapedPath())
	switch {
	case s.isForStorage(r):
		refuseStorage(w, r, no)
	case isGit:
		s.commonHeaders(w.Header())
		refuseGit(w, r, no)
	case isLFS:
		_, _ = io.Copy(io.Discard, r.Body)
		s.writeLFS(w, no.lfsAnswer())
	default:
		s.write(w, no.answer())
	}
}

// reset sends a TCP RST if it can reach the connection.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn() // the connection below TLS, because Close of TLS would end it properly
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// A cutter passes the first bytes of a body and discards the rest.
type cutter struct {
	http.ResponseWriter
	left int
	cut  bool
}

func (c *cutter) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	c.cut = c.cut || n < len(p)
	if n > 0 {
		if _, err := c.ResponseWriter.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// finish breaks the connection if bytes were discarded.
func (c *cutter) finish() {
	if !c.cut {
		return
	}
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

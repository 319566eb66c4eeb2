// Package manifestflow serves a local page on which a person has GitHub make an App
// from a manifest
// (https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest).
//
// The page shows what will be requested and posts it to GitHub. GitHub asks for
// confirmation and then redirects the browser here with a code. The App's private key,
// for which the code is exchanged, never reaches the browser: [Server.Code] returns the
// code, and the caller reports the result with [Server.Finish].
//
// A code is accepted only with the state that the page gave to GitHub, and only one
// browser sees the page. Otherwise another program or web page could make gatepass
// store an App of its own choice.
package manifestflow

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

const (
	// Limit is how long a page waits for its code by default.
	Limit = 5 * time.Minute

	// lingerFor is how long a page stays up for the browser to read the result.
	lingerFor = 3 * time.Second

	// closeFor is how long Close waits for running answers. It is short, because
	// browsers hold open connections that they never use.
	closeFor = 300 * time.Millisecond
)

// The errors of Code when no code came.
var (
	ErrLate      = errors.New("the time limit has passed")
	ErrCancelled = errors.New("it was cancelled on the page")
)

// A Flow describes a page.
type Flow struct {
	Manifest mint.Manifest // Open fills in its RedirectURL
	GitHub   string        // https://HOST
	Org      string        // "" means the account that is signed in there
	KeyGoes  string        // where the App's key will be stored, for people
	Limit    time.Duration // 0 means [Limit]
	Port     int           // 0 means any free one
}

// A Server serves one page until it has its code. Make it with [Open], and Close it.
type Server struct {
	flow     Flow
	action   string // target of the form at GitHub
	manifest string // JSON
	host     string // the only Host header that is accepted
	root     string // "/SECRET/", the prefix of all paths
	inner    string // another secret, which is only in the page
	state    string
	until    time.Time
	cookie   http.Cookie
	http     *http.Server
	hold     time.Duration // how long a request for the result waits
	linger   time.Duration // how long Finish waits for the browser

	codes     chan string   // buffered, for one code
	cancelled chan struct{} // closed when the person cancels
	finished  chan struct{} // closed when outcome is set
	shown     chan struct{} // closed when the outcome was sent to the browser
	shownOnce sync.Once

	mu      sync.Mutex // guards the rest
	claimed bool       // a browser has seen the page
	over    bool       // a code was accepted, or the person cancelled
	outcome Outcome
}

// Open starts to serve the page, on this machine only. It returns an error if it cannot
// listen, or the flow is wrong.
func Open(f Flow) (*Server, error) {
	if f.Limit == 0 {
		f.Limit = Limit
	}
	settings, err := mint.SettingsURL(f.GitHub, f.Org)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(f.Port)))
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err // the caller's message names the address
		}
		return nil, usererr.Wrap(fmt.Sprintf("listen on port %d of 127.0.0.1", f.Port), err, "choose another port")
	}
	s, err := newServer(f, settings, listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	go func() { _ = s.http.Serve(listener) }() // ends with Close
	return s, nil
}

func newServer(f Flow, settings, host string) (*Server, error) {
	s := &Server{
		hold: holdResult, linger: lingerFor, host: host, root: "/" + rand.Text() + "/", inner: rand.Text(), state: rand.Text(), until: time.Now().Add(f.Limit),
		codes: make(chan string, 1), cancelled: make(chan struct{}), finished: make(chan struct{}), shown: make(chan struct{}),
	}
	s.cookie = http.Cookie{Name: "gatepass-" + rand.Text()[:8], Value: rand.Text(), Path: s.root, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	f.Manifest.RedirectURL = "http://" + host + s.callbackPath()
	text, err := f.Manifest.MarshalJSON()
	if err != nil {
		return nil, err
	}
	s.flow, s.manifest = f, string(text)
	s.action = settings + "/new?state=" + url.QueryEscape(s.state)
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // browsers that go away are normal
	}
	return s, nil
}

// URL returns the page's address. The first browser that opens it sees the page.
func (s *Server) URL() string { return "http://" + s.host + s.root }

// Code waits for the code that GitHub sends with the browser. If none comes, it returns
// [ErrLate], [ErrCancelled], or ctx's error.
func (s *Server) Code(ctx context.Context) (string, error) {
	late := time.NewTimer(time.Until(s.until))
	defer late.Stop()
	select {
	case code := <-s.codes:
		return code, nil
	case <-s.cancelled:
		return "", ErrCancelled
	case <-late.C:
		return "", ErrLate
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Finish shows the result. It returns once the browser has it, or no longer asks. Call
// it once.
func (s *Server) Finish(o Outcome) {
	s.mu.Lock()
	s.outcome = o
	s.mu.Unlock()
	close(s.finished)
	select {
	case <-s.shown:
	case <-time.After(s.linger):
	}
}

// Close stops serving, after running answers were sent.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	_ = s.http.Shutdown(ctx) // on a timeout, Close below ends them
	return s.http.Close()
}

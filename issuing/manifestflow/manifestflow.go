// Package manifestflow is the page on this machine by which a person has GitHub
// make an App from a manifest
// (https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest).
//
// The page shows what will be asked and posts it to GitHub, which asks back and
// then sends the browser here with a code. What the code is worth, an App's
// private key, never comes near the browser: [Server.Code] returns the code, and
// whoever called it says by [Server.Finish] what came of it.
//
// A code is only believed together with the state that the page gave to GitHub,
// and the page is shown to one browser only: else another program or web page
// could have gatepass keep an App of its own choice.
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
	// Limit is how long a page waits for its code.
	Limit = 5 * time.Minute

	// lingerFor bounds how long a page stays for its last answer to be asked for.
	lingerFor = 3 * time.Second

	// closeFor bounds how long answers on their way are waited for. It is short,
	// because browsers keep connections open that they never use.
	closeFor = 300 * time.Millisecond
)

// How waiting for a code may end without one.
var (
	ErrLate      = errors.New("the time is up")
	ErrCancelled = errors.New("it was cancelled on the page")
)

// A Flow is what a page is about.
type Flow struct {
	Manifest mint.Manifest // its RedirectURL is filled in
	GitHub   string        // https://HOST
	Org      string        // "" means the account of whoever is signed in there
	KeyGoes  string        // where the App's key is going to be, for the reader
	Limit    time.Duration // 0 means [Limit]
	Port     int           // 0 means a free one
}

// A Server shows one page until its code is there. It is made by [Open] and has
// to be closed.
type Server struct {
	flow     Flow
	action   string // where the form goes at GitHub
	manifest string // JSON
	host     string // the only Host that requests may name
	root     string // "/SECRET/", below which everything is
	inner    string // another secret, which only the page knows
	state    string
	until    time.Time
	cookie   http.Cookie
	http     *http.Server
	hold     time.Duration // how long an answer waits for the outcome
	linger   time.Duration // how long Finish waits for the browser

	codes     chan string   // has room for one
	cancelled chan struct{} // closed when the person cancels
	finished  chan struct{} // closed when outcome is set
	shown     chan struct{} // closed when the outcome was sent to the browser
	shownOnce sync.Once

	mu      sync.Mutex // guards the rest
	claimed bool       // a browser has been shown the page
	over    bool       // a code was accepted, or the person cancelled
	outcome Outcome
}

// Open starts to serve the page, on this machine only.
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
			err = op.Err // the address is named already
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
		ErrorLog: log.New(io.Discard, "", 0), // browsers come and go
	}
	return s, nil
}

// URL is where the page is. The first who opens it is shown the page.
func (s *Server) URL() string { return "http://" + s.host + s.root }

// Code waits for the code that GitHub sends with the browser. It returns
// [ErrLate], [ErrCancelled], or ctx's error when there will be none.
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

// Finish shows what came of the code. It returns once the browser has it, or
// nobody looks any more. It is called once.
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

// Close ends the page. What it is just sending is sent.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	_ = s.http.Shutdown(ctx) // else Close ends it
	return s.http.Close()
}

// Package fakegithub is a strict, stateful double of the part of GitHub that gatepass
// uses: Apps and their registration from a manifest, App JWTs, installations, scoped
// and expiring installation tokens, git over smart HTTP, and Git LFS. All are behind
// one TLS listener on the loopback interface; the storage of LFS is behind another.
//
// It is a server, not a stub: tokens are minted, narrowed and revoked, and expire by
// its clock; the repositories are real bare repositories served by real git. Where
// GitHub is lenient and gatepass must not rely on it (unknown keys in a request, an
// undocumented combination), the double refuses loudly with a message that begins
// "fakegithub:".
//
//	gh, err := fakegithub.New(fakegithub.Options{})
//	defer gh.Close()
//	app, err := gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: keys, Permissions: perms})
//	_, err = gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"})
//	inst, err := gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
//
// Messages and status codes follow https://docs.github.com/rest and observed answers of
// github.com.
package fakegithub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// closeTimeout bounds Close: a handler that is still running by then is a bug.
const closeTimeout = time.Minute

// Options configures a Server. The zero value works.
type Options struct {
	// Root holds the bare repositories. Empty means a temporary directory
	// that Close removes.
	Root string

	// Now is the clock that Advance moves; nil means time.Now.
	Now func() time.Time

	// Delay is how long to wait before every answer, to simulate a network.
	Delay time.Duration

	// Git is the git binary; empty means "git" on PATH.
	Git string

	// Addr is the address to listen on; empty means a free port of 127.0.0.1.
	Addr string

	// Names are additional DNS names for the certificate, for a client that is led here
	// when it calls them.
	Names []string

	// Residency makes this a host with data residency, such as "acme.ghe.com": git is
	// at that host, and the API at api.acme.ghe.com. Clients must be led here for both
	// names. Empty means one host for both.
	Residency string

	// HandlerOnly opens no listener: the Server is used as an http.Handler or
	// through Transport.
	HandlerOnly bool

	// RESTOnly makes repositories without git, which takes a thousandth of the time.
	// git does not find them.
	RESTOnly bool

	// StatelessTokens mints the long form, ghs_APPID_JWT, instead of the
	// opaque one. A request can choose with X-GitHub-Stateless-S2S-Token.
	StatelessTokens bool

	// RateLimit is how many REST requests an App or installation may make in
	// an hour; 0 means GitHub's 5000.
	RateLimit int

	// PointsPerMinute is GitHub's secondary rate limit: how many points an App or
	// installation may spend in any 60 seconds; 0 means no limit. GitHub's own is
	// SecondaryLimit. A GET costs one point; a POST, PUT, PATCH or DELETE five.
	PointsPerMinute int
}

// A Server is one GitHub. Make it with New.
type Server struct {
	opts    Options
	git     string // absolute path
	ownRoot bool   // Root was made by New, so Close removes it
	home    string // HOME of every child git; always empty
	url     string
	ca      *authority
	mux     *http.ServeMux
	storage *storageHost
	clock   clock
	ctx     context.Context // ends when Close begins
	cancel  context.CancelFunc

	running sync.WaitGroup // handlers, and the accept loop

	mu       sync.Mutex // guards everything below
	closed   bool
	state    state
	servers  []*http.Server
	beside   map[string]http.Handler // by host, if there is no listener
	faults   []*fault
	requests []*Request
}

// state is the state of this GitHub.
type state struct {
	lastID        int64
	accounts      map[string]*account    // by login, lower case
	apps          map[int64]*App         // by App ID
	installations map[int64]*installed   // by installation ID
	repositories  map[int64]*Repository  // by repository ID
	names         map[string]int64       // lower-case owner/name to repository ID
	oldNames      map[string]int64       // names given up by a rename
	tokens        map[tokenKey]*issued   // by SHA-256 of the token
	usage         map[string]*rateWindow // by resource and caller
	browser       *signedIn              // nil if no user is signed in
	pending       map[string]*pendingApp // by the token of the form
	conversions   map[string]*conversion // by code
	lag           lag                    // for tokens that are made from now on
	points        map[string][]spending  // of the last minute, oldest first, by caller
	counts        Counts
	jwts          map[tokenKey]bool   // those with a valid signature
	lfs           map[int64]*lfsState // by repository ID
}

func newState() state {
	return state{
		lastID:        1000,
		accounts:      map[string]*account{},
		apps:          map[int64]*App{},
		installations: map[int64]*installed{},
		repositories:  map[int64]*Repository{},
		names:         map[string]int64{},
		oldNames:      map[string]int64{},
		tokens:        map[tokenKey]*issued{},
		usage:         map[string]*rateWindow{},
		pending:       map[string]*pendingApp{},
		conversions:   map[string]*conversion{},
		points:        map[string][]spending{},
		jwts:          map[tokenKey]bool{},
		lfs:           map[int64]*lfsState{},
	}
}

// nextID gives every object of this GitHub a unique ID, so that one kind of ID in the
// place of another is never valid by accident.
func (st *state) nextID() int64 {
	st.lastID++
	return st.lastID
}

// New starts a GitHub with no accounts. The caller must Close it.
func New(opts Options) (*Server, error) {
	git, err := findGit(opts.Git)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, git: git, state: newState(), beside: map[string]http.Handler{}, clock: clock{base: opts.Now}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mux = s.routes()
	s.storage = newStorageHost()
	if err := s.prepareRoot(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func findGit(name string) (string, error) {
	if name == "" {
		name = "git"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find git: %w", err)
	}
	return filepath.Abs(path)
}

func (s *Server) prepareRoot() (err error) {
	if s.opts.Root == "" {
		if s.opts.Root, err = os.MkdirTemp("", "fakegithub-"); err != nil {
			return err
		}
		s.ownRoot = true
	}
	if s.opts.Root, err = filepath.Abs(s.opts.Root); err != nil {
		return err
	}
	s.home, err = os.MkdirTemp("", "fakegithub-home-")
	return err
}

func (s *Server) listen() error {
	s.url = "https://github.invalid"
	if s.opts.HandlerOnly {
		return nil
	}
	var err error
	if s.ca, err = newAuthority(s.names()); err != nil {
		return err
	}
	addr := s.opts.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.url = "https://" + l.Addr().String()
	s.serve(l, s)
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	s.storage.url = "https://" + l.Addr().String()
	s.serve(l, s)
	return nil
}

// serve accepts HTTP/1.1 only: faults need the bare connection, and gatepass's own
// gateway also uses HTTP/1.1 with git servers.
func (s *Server) serve(l net.Listener, h http.Handler) {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that give up are part of the tests
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	s.mu.Lock()
	s.servers = append(s.servers, server)
	s.mu.Unlock()
	tl := tls.NewListener(l, s.ca.serverConfig())
	s.running.Go(func() { _ = server.Serve(tl) })
}

// URL returns the address of this GitHub for a browser or git, such as
// https://127.0.0.1:40123. The REST API answers at URL()/api/v3, as in GitHub
// Enterprise Server, and at URL() itself, as at api.github.com.
func (s *Server) URL() string { return s.url }

// Host returns the host and port of URL, as git sends them to a credential helper.
func (s *Server) Host() string { return s.url[len("https://"):] }

// Close ends every connection and every git process, and returns once they are
// gone, or with an error after a second.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	s.cancel()
	s.closeServers()
	err := s.wait()
	return errors.Join(err, s.removeDirs())
}

func (s *Server) closeServers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, server := range s.servers {
		_ = server.Close()
	}
}

func (s *Server) removeDirs() error {
	err := os.RemoveAll(s.home)
	if s.ownRoot {
		err = errors.Join(err, os.RemoveAll(s.opts.Root))
	}
	return err
}

func (s *Server) wait() error {
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-time.After(closeTimeout):
		return errors.New("fakegithub: a request is still running after Close")
	}
}

// enter counts a request, unless the server is closing. Without it a handler could
// start after Close has checked.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// ServeHTTP answers git, LFS and REST requests, and requests to the host of StorageURL.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	defer s.running.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	r = r.WithContext(ctx)
	if h := s.besideAt(r.Host); h != nil {
		h.ServeHTTP(w, r)
		return
	}
	w = s.record(w, r)
	s.withFaults(w, r, s.dispatch)
}

// besideAt returns the handler of another host that this server answers for; nil if
// there is none.
func (s *Server) besideAt(host string) http.Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beside[host]
}

func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	if s.isForStorage(r) {
		s.serveStorage(w, r)
		return
	}
	if s.opts.Residency != "" {
		s.serveResident(w, r)
		return
	}
	if p, ok := parseLFSPath(r.URL.EscapedPath()); ok {
		s.serveLFS(w, r, p)
		return
	}
	if p, ok := parseGitPath(r.URL.EscapedPath()); ok {
		s.serveGit(w, r, p)
		return
	}
	s.serveREST(w, r)
}

// pause sleeps for d, or less if the client leaves or the server closes.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

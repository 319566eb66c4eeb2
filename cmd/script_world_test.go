//go:build linux

package cmd_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential/credentialtest"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/vaulttest"
	"github.com/rogpeppe/go-internal/testscript"
)

type contextKey int

const worldKey contextKey = 0

// commands are those that a script can use in addition to testscript's own. Each is
// described at its function.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"workspace": inWorld((*world).workspace),
	"repo":      inWorld((*world).repository),
	"mint":      inWorld((*world).mint),
	"revoke":    inWorld((*world).revoke),
	"put":       inWorld((*world).put),
	"requests":  inWorld((*world).requests),
	"client":    inWorld((*world).client),
	"gogit":     inWorld((*world).gogit),
	"foreign":   inWorld((*world).foreignSaw),
	"broker":    inWorld((*world).broker),
	"brokerd":   inWorld((*world).brokerd),
	"issue":     inWorld((*world).issue),
	"reported":  inWorld((*world).reported),
	"page":      inWorld((*world).page),
	"calls":     inWorld((*world).calls),
	"callers":   inWorld((*world).callersWere),
	"vault":     inWorld((*world).vault),
	"front":     inWorld((*world).front),
	"agents":    inWorld((*world).agents),
	"signal":    inWorld((*world).signal),
	"watch":     inWorld((*world).watch),
	"leaks":     inWorld((*world).leaks),
	"hold":      inWorld((*world).hold),
	"memory":    inWorld((*world).memory),
	"cores":     inWorld((*world).cores),
	"stranger":  inWorld((*world).stranger),
	"trickle":   inWorld((*world).trickle),
	"ask":       ask,
	"together":  together,
	"silent":    silent,
}

// A world is what one script runs in.
type world struct {
	work, run, bin string

	github, elsewhere *fakegithub.Server // ours, and a host that is not
	app               fakegithub.App
	installed         map[string]int64 // installations by owner
	brokerDouble      *credentialtest.Broker
	vaultDouble       *vaulttest.Vault
	brokerProcess     *exec.Cmd // the real one; nil for none
	hasBroker         bool      // a broker runs or has run
	issuerKey         *ecdsa.PrivateKey
	watching          *watcher
	arrived           chan struct{} // closed once the request that hold delays is here; nil without one
	closers           []func()

	mu       sync.Mutex        // guards the fields below; the broker mints from its own goroutines
	tokens   map[string]string // names of all tokens ever minted, by the token
	dead     bool              // the broker's tokens are revoked at once
	readOnly bool              // the broker refuses to give tokens for writing
	callers  []string          // the workspaces that the broker minted for
}

// inWorld makes a command from a method. None of them can be negated.
func inWorld(f func(*world, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command cannot be negated")
		}
		f(ts.Value(worldKey).(*world), ts, args)
	}
}

// startGitHubs starts $GITHUB, and $FOREIGN, which no workspace file names.
func (w *world) startGitHubs(setenv func(key, value string)) error {
	var err error
	for name, server := range map[string]**fakegithub.Server{"GITHUB": &w.github, "FOREIGN": &w.elsewhere} {
		if *server, err = fakegithub.New(fakegithub.Options{}); err != nil {
			return err
		}
		w.closers = append(w.closers, func() { _ = (*server).Close() })
		setenv(name, (*server).Host())
		if err := w.trust((*server).CAPEM()); err != nil {
			return err
		}
	}
	w.app, err = w.github.AddApp(fakegithub.App{Slug: "gatepass", Permissions: fakegithub.Permissions{"contents": "write"}})
	return err
}

// trust adds a certificate to $CA.
func (w *world) trust(certificate []byte) error {
	f, err := os.OpenFile(filepath.Join(w.work, "ca.pem"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(certificate)
	return err
}

// end stops everything that the script started. An agent that does not end when it is
// asked to is a failure.
func (w *world) end(t testscript.T) {
	if w.watching != nil {
		w.watching.stop()
	}
	err := w.stopAgents()
	for _, c := range w.closers {
		c()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// workspace FILE makes the file, with $NAME filled in, the workspace file.
func (w *world) workspace(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1, "workspace FILE")
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	w.replace(ts, ts.Getenv("GATEPASS_CONFIG"), text, 0o644)
}

// put FILE TEXT writes a private file; \n and other escapes are Go's.
func (w *world) put(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 2, "put FILE TEXT")
	w.replace(ts, ts.MkAbs(args[0]), unescape(ts, args[1]), 0o600)
}

// replace replaces a file atomically, so that no program reads half of it.
func (w *world) replace(ts *testscript.TestScript, path, text string, mode os.FileMode) {
	ts.Check(os.WriteFile(path+".new", []byte(text), mode))
	ts.Check(os.Rename(path+".new", path))
}

// repo [foreign] OWNER/NAME [public] [wiki] adds a repository to $GITHUB, whose owner
// has the App installed for all repositories, or to $FOREIGN.
func (w *world) repository(ts *testscript.TestScript, args []string) {
	server := w.github
	if len(args) > 0 && args[0] == "foreign" {
		server, args = w.elsewhere, args[1:]
	}
	usage(ts, len(args) > 0, "repo [foreign] OWNER/NAME [public] [wiki]")
	owner, name, _ := strings.Cut(args[0], "/")
	r := fakegithub.Repository{Owner: owner, Name: name}
	for _, word := range args[1:] {
		r.Public = r.Public || word == "public"
		r.Wiki = r.Wiki || word == "wiki"
	}
	_, err := server.AddRepository(r)
	ts.Check(err)
	if server == w.elsewhere || w.installed[owner] != 0 {
		return
	}
	in, err := w.github.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: owner, RepositorySelection: "all"})
	ts.Check(err)
	w.installed[owner] = in.ID
}

// mint NAME OWNER [LEVEL] sets $NAME to a token for all repositories of OWNER;
// LEVEL is read or write.
func (w *world) mint(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 2 || len(args) == 3, "mint NAME OWNER [LEVEL]")
	level := "write"
	if len(args) == 3 {
		level = args[2]
	}
	token, err := w.newToken(args[0], args[1], nil, level)
	ts.Check(err)
	ts.Setenv(args[0], token)
}

func (w *world) newToken(name, owner string, repositories []string, level string) (string, error) {
	token, err := w.github.MintFor(w.installed[owner], repositories, fakegithub.Permissions{"contents": level})
	if err != nil {
		return "", err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens[token] = name
	return token, nil
}

// revoke TOKEN... revokes tokens. "revoke all" revokes every one.
func (w *world) revoke(ts *testscript.TestScript, args []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(args) == 1 && args[0] == "all" {
		for token := range w.tokens {
			w.github.Revoke(token)
		}
		return
	}
	for _, token := range args {
		if !w.github.Revoke(token) {
			ts.Fatalf("a token to revoke was not live")
		}
	}
}

// requests COUNT [STATUS] checks how many git requests $GITHUB has answered, or
// answered with a status; "requests reset" sets the count to zero.
func (w *world) requests(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1 || len(args) == 2, "requests COUNT [STATUS] or requests reset")
	if args[0] == "reset" {
		w.github.ResetRequests()
		return
	}
	got := w.github.Count(func(r fakegithub.Request) bool {
		return len(args) == 1 || strconv.Itoa(r.Status) == args[1]
	})
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s saw %d requests %v, want %s: %+v", "$GITHUB", got, args[1:], args[0], w.github.Requests())
	}
}

// client TEXT checks that the last git request that $GITHUB answered had a credential
// and came from a program with that name in its User-Agent.
func (w *world) client(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1, "client TEXT")
	all := w.github.Requests()
	if len(all) == 0 {
		ts.Fatalf("$GITHUB saw no request, want one from %q", args[0])
	}
	if last := all[len(all)-1]; !strings.Contains(last.UserAgent, args[0]) || last.Hash == "" || last.Status != http.StatusOK {
		ts.Fatalf("the last request was %+v, want one from %q that showed a credential", last, args[0])
	}
}

// foreign LEAST checks that $FOREIGN saw LEAST or more requests, and never a
// credential.
func (w *world) foreignSaw(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1, "foreign LEAST")
	least, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := len(w.elsewhere.Requests()); got < least {
		ts.Fatalf("$FOREIGN saw %d requests, want %d or more", got, least)
	}
	if got := w.elsewhere.Count(func(r fakegithub.Request) bool { return r.Hash != "" }); got > 0 {
		ts.Fatalf("$FOREIGN was shown %d credentials, want none: %+v", got, w.elsewhere.Requests())
	}
}

// front starts $FRONT, a host in front of $GITHUB: it serves git-lfs, redirects every
// path below /moved/ to $FOREIGN, and those below /login/ too once they have a
// credential; all others it passes on to $GITHUB.
func (w *world) front(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 0, "front")
	mux := http.NewServeMux()
	mux.Handle("/", w.github)
	mux.Handle("/moved/", http.StripPrefix("/moved", http.HandlerFunc(w.redirect)))
	mux.Handle("/login/", http.StripPrefix("/login", login(w.redirect)))
	store := &lfsServer{github: w.github, objects: map[string][]byte{}}
	mux.Handle("/acme/{repo}/info/lfs/", store)
	mux.Handle("/lfs/", store)
	ts.Setenv("FRONT", w.serveTLS(ts, mux))
}

func (w *world) redirect(rw http.ResponseWriter, r *http.Request) {
	to := *r.URL
	to.Scheme, to.Host = "https", w.elsewhere.Host()
	http.Redirect(rw, r, to.String(), http.StatusFound)
}

// login demands a credential, any credential, before it calls next.
func login(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="front"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

// serveTLS serves at the host that it returns until the world ends.
func (w *world) serveTLS(ts *testscript.TestScript, h http.Handler) (host string) {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // some clients of the test do not trust it
	server.StartTLS()
	w.closers = append([]func(){server.Close}, w.closers...)
	ts.Check(w.trust(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return server.Listener.Addr().String()
}

// serve serves on a listener until the world ends.
func (w *world) serve(l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	w.closers = append([]func(){func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}}, w.closers...)
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/internal/systemd"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// A listener is an open socket and its server.
type listener struct {
	net.Listener
	server *http.Server
	isTLS  bool
}

// listeners opens all listeners, or none.
func (d *daemon) listeners(f *config.File) (doors []listener, err error) {
	handed, err := systemd.Sockets(d.getenv)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, one := range doors {
				_ = one.Close() // the first error is returned
			}
		}
	}()
	public := d.newServer(f, d.handler())
	public.TLSConfig = d.tlsConfig()
	for _, address := range f.Listen {
		l, err := open(&handed, address, "", mode(f))
		if err != nil {
			return doors, err
		}
		l = Limited(l, f.Limits.Connections, d.metrics.RefusedConnections.Inc)
		doors = append(doors, listener{l, public, strings.HasPrefix(address, "https:")})
	}
	for _, private := range []struct {
		address, name string
		handler       http.Handler
	}{{f.Metrics, "metrics", d.metricsHandler()}, {f.Pprof, "pprof", pprofHandler()}} {
		if private.address == "" {
			continue
		}
		l, err := open(&handed, private.address, private.name, 0o600)
		if err != nil {
			return doors, err
		}
		server := d.newServer(f, private.handler)
		server.WriteTimeout = 0 // a profile takes as long as the request says
		doors = append(doors, listener{l, server, false})
	}
	if len(handed) > 0 {
		return doors, usererr.New("use the sockets of systemd", handed[0].Addr().String()+" is not in the configuration", "write it under listen")
	}
	return doors, nil
}

// mode returns the mode of the sockets for workspaces.
func mode(f *config.File) os.FileMode {
	const usual = 0o660
	if f.SocketMode == 0 {
		return usual
	}
	return os.FileMode(f.SocketMode)
}

// open takes a socket that systemd handed over, or listens at unix:///PATH,
// https://HOST:PORT or HOST:PORT.
func open(handed *[]systemd.Socket, address, name string, mode os.FileMode) (net.Listener, error) {
	if l := ClaimSocket(handed, address, name); l != nil {
		return l, nil
	}
	u, err := url.Parse(address)
	switch {
	case err == nil && u.Scheme == "unix":
		return ListenUnix(u.Path, mode)
	case err == nil && (u.Scheme == "https" || u.Scheme == "http"):
		return ListenTCP(u.Host)
	}
	return ListenTCP(address)
}

func (d *daemon) newServer(f *config.File, h http.Handler) *http.Server {
	l := f.Limits
	return &http.Server{
		Handler: h, ConnContext: func(ctx context.Context, c net.Conn) context.Context { return identity.ConnContext(ctx, Unwrap(c)) },
		MaxHeaderBytes: int(l.HeaderSize), ReadHeaderTimeout: l.ReadHeader, ReadTimeout: l.Read, WriteTimeout: l.Write, IdleTimeout: l.Idle,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug), // clients that go away are normal

		DisableGeneralOptionsHandler: true, // its answer lacks the headers of [broker.Secured]
	}
}

// tlsConfig returns the TLS configuration. Parts that may change are read for each
// connection.
func (d *daemon) tlsConfig() *tls.Config {
	if d.pair == nil {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: d.pair.Get, NextProtos: []string{"h2", "http/1.1"}}
	base := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		if !d.config.file().Gateway.OffersHTTP2() {
			c.NextProtos = []string{"http/1.1"}
		}
		if pool := d.config.known.ClientCAs(); pool != nil { // nil would mean all authorities of this machine
			c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, pool
		}
		return c, nil
	}
	return config
}

// handler serves workspaces, and the health checks.
func (d *daemon) handler() http.Handler {
	mux := http.NewServeMux()
	d.probe.routes(mux, false)
	limit := func() int { return d.config.file().Limits.Requests }
	mux.Handle("/", broker.Gated(limit, d.metrics.RefusedRequests.Inc, d.traces.Handler(d.broker.Handler())))
	return broker.Secured(d.withGateway(mux))
}

func (d *daemon) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	d.probe.routes(mux, true)
	mux.Handle("GET /metrics", d.metrics.Handler())
	return broker.Secured(mux)
}

func pprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return broker.Secured(mux)
}

// start serves a listener, and sends the error if that ends for another reason than a
// shutdown.
func (o listener) start(failed chan<- error) {
	var err error
	if o.isTLS {
		err = o.server.ServeTLS(o.Listener, "", "")
	} else {
		err = o.server.Serve(o.Listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		failed <- err
	}
}

// drain waits until running requests have finished. A second signal, or the time limit,
// cuts them off.
func (d *daemon) drain(doors []listener, limit time.Duration, signals <-chan os.Signal) {
	d.draining.Store(true)
	d.log.Info("the broker stops after the running requests", "at_most", limit.String())
	if err := systemd.Notify(d.getenv, systemd.Stopping); err != nil {
		d.log.Warn("the broker cannot notify systemd", "error", err.Error())
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	closed := map[*http.Server]bool{}
	for _, o := range doors {
		if closed[o.server] {
			continue
		}
		closed[o.server] = true
		if o.server.Shutdown(ctx) != nil {
			_ = o.server.Close()
		}
	}
}

const (
	readyFor  = time.Second     // how long an answer is cached, so that requests do not all reach the store
	readyWait = 5 * time.Second // for the store

	maxStoreChecks = 64 // concurrent requests: while the store is slow, all of them wait
)

// A readiness says whether the broker can give tokens, part by part.
type readiness struct {
	Ready bool              `json:"ready"`
	Parts map[string]string `json:"parts"` // "ok", or in a few words what is wrong
	// Config is for people; it does not affect Ready.
	Config string `json:"config"`
	Clock  string `json:"clock"` // how far this machine's clock is off GitHub's; also only for people
	*Details
}

// Details are shown only on the operators' listener.
type Details struct {
	Generation int    `json:"config_generation"`
	Policy     string `json:"policy"`
	AuditSeq   uint64 `json:"audit_seq"`
	AuditHead  string `json:"audit_head"`
}

// ok is the state of a part that works.
const ok = "ok"

// A probe checks the parts of a daemon.
type probe struct {
	d *daemon

	mu        sync.Mutex // guards the rest; held during calls of the store, so that one call serves all
	last      readiness
	checkedAt time.Time
}

func (p *probe) check(ctx context.Context) readiness {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.checkedAt) < readyFor && p.last.Parts["draining"] == p.draining() {
		return p.last
	}
	d := p.d
	r := readiness{Parts: map[string]string{"policy": ok, "audit": ok, "store": ok, "blocklist": ok, "app": ok, "draining": p.draining()}, Config: ok, Clock: cmp.Or(d.app.clockProblem(), ok)}
	say := func(part string, err error, words string) {
		if err != nil {
			r.Parts[part] = words
			d.log.Debug("not ready", "part", part, "error", err.Error())
		}
	}
	say("audit", errors.Join(d.journal.Ready(), d.reopenFailed()), "it cannot be written")
	say("store", p.readStore(ctx), "it cannot be read")
	say("blocklist", d.broker.Blocklist.Check(ctx), "it cannot be read, so every request is refused")
	say("app", d.app.problem(), "it cannot be used")
	if d.config.problem() != nil {
		r.Config = "the file was rejected; the last good one is in force, and the broker's log has the reason"
	}
	g := d.config.current.Load()
	seq, head := d.journal.Head()
	r.Details = &Details{g.number, g.policy.Hash, seq, head}
	r.Ready = true
	for _, state := range r.Parts {
		r.Ready = r.Ready && state == ok
	}
	p.last, p.checkedAt = r, time.Now()
	return r
}

func (p *probe) draining() string {
	if p.d.draining.Load() {
		return "the broker is stopping"
	}
	return ok
}

// readStore reads an entry from the store; it need not exist.
func (p *probe) readStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	_, err := p.d.store.Get(ctx, store.AppClientID())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// routes adds /healthz, which is about the process alone, and /readyz, with or without
// details.
func (p *probe) routes(mux *http.ServeMux, withDetails bool) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /readyz", broker.Gated(func() int { return maxStoreChecks }, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := p.check(context.WithoutCancel(r.Context()))
		if !withDetails {
			state.Details = nil
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !state.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		enc := json.NewEncoder(usererr.JSONWriter(w))
		enc.SetIndent("", "  ")
		_ = enc.Encode(state) // fails only if the client closed the connection
	})))
}

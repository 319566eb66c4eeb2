// Package gateway serves git to workspaces. It holds the GitHub tokens that this needs,
// so that workspaces need none.
//
// A workspace sends its identity, not a GitHub token. A fetch is forwarded with a token
// that can read one repository. A push is forwarded with a token that can write one
// repository, but only if the profile allows every command of the push (package push);
// otherwise nothing of it is forwarded. Packs are streamed: the gateway never stores
// them, in memory or in a file.
//
// Every transfer is recorded in the audit log before it is forwarded, and its outcome
// afterwards.
package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/gateway/lfs"
	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Settings limit transfers. A field that is 0 means no limit.
type Settings struct {
	MaxPack     int64         // bytes of one push
	IdleTimeout time.Duration // of a transfer that makes no progress
	Transfers   int           // concurrent, of one workspace
	Rate        int64         // bytes per hour of one workspace
}

// A Gateway serves git, Git LFS and GitHub's API. Make it with [New].
type Gateway struct {
	Access   *access.Access
	Settings func() Settings // returns the settings in force
	// Done is called after every git request, for metrics; nil disables it.
	Done func(Transfer)
	// KeepAlive is how often something is sent to a client that waits; 0 means 5
	// seconds.
	KeepAlive time.Duration

	transfers transfers
	lfs       *lfs.Handler
	api       *rest.API
}

// New returns a gateway to a's GitHub. It calls settings for each request.
func New(a *access.Access, settings func() Settings, api rest.Options) *Gateway {
	g := &Gateway{Access: a, Settings: settings}
	api.Watched = g.transfers.watched
	g.api = rest.New(a, api)
	g.lfs = &lfs.Handler{Access: a, Idle: func() time.Duration { return settings().IdleTimeout }, Begin: g.beginLFS}
	return g
}

func (g *Gateway) beginLFS(ctx context.Context, c access.Caller, owner string) (context.Context, func(moved int64), error) {
	return g.transfers.begin(ctx, c, owner, g.Settings(), g.Access.Broker.Now)
}

// A Transfer describes one finished git request. Each text has few possible values, for
// metrics.
type Transfer struct {
	Service  string // "git-upload-pack" or "git-receive-pack"
	Status   int    // of HTTP
	Reason   string // why it was refused; see [broker.Refusal]
	Outcomes []string
	// Checks are GitHub's checks that refused a ref of a push, one for each such ref:
	// workflow, ruleset, secret, size, or "" for another.
	Checks  []string
	In, Out int64 // bytes from the workspace, and to it
	Took    time.Duration
}

// Handler returns a handler that serves the gateway's paths, and passes everything else
// to next.
func (g *Gateway) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case rest.Serves(r.Host, r.RequestURI): // first: on a host api.NAME a repository may be called "objects"
			g.api.ServeHTTP(w, r)
		case isOurs(r.RequestURI):
			g.serve(w, r, (*request).serve)
		case isEcho(r.RequestURI):
			g.serve(w, r, (*request).echo)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// A request is one request in the gateway.
type request struct {
	*http.Request
	g        *Gateway
	id       string
	w        http.ResponseWriter
	settings Settings
	route    route
	caller   access.Caller

	began    bool // part of the answer was sent
	transfer Transfer
}

// serve calls answer for a request. If that returns an error, it answers a refusal as
// text.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, answer func(*request) error) {
	begun := time.Now()
	rq := &request{Request: r, g: g, id: rand.Text(), w: w, settings: g.Settings()}
	w.Header().Set("X-Request-Id", rq.id)
	rq.transfer.Status = http.StatusOK
	err := answer(rq)
	if err != nil {
		rq.refuse(broker.RefusalOf(err))
	}
	if g.Done != nil {
		rq.transfer.Service, rq.transfer.Took = string(rq.route.service), time.Since(begun)
		g.Done(rq.transfer)
	}
	if err != nil && rq.began {
		panic(http.ErrAbortHandler) // only a broken connection tells the client that the answer is incomplete
	}
}

// serve answers the request. If it returns an error, it has answered nothing, except
// where began is set.
func (rq *request) serve() (err error) {
	rq.unbound()
	policy := rq.g.Access.Broker.Policy()
	if rq.route, err = parseRoute(rq.Method, rq.RequestURI, policy.Hosts); err != nil {
		return err
	}
	if rq.route.service == largeFiles {
		return rq.serveLFS()
	}
	if rq.caller, err = rq.g.Access.Caller(rq.Request, rq.id); err != nil {
		return err
	}
	switch {
	case rq.route.advertise:
		return rq.advertise()
	case rq.route.service == uploadPack:
		return rq.fetch()
	}
	return rq.push()
}

// serveLFS lets package lfs answer, refusals included.
func (rq *request) serveLFS() error {
	result := rq.g.lfs.Serve(rq.w, rq.Request, lfs.Target{Repo: rq.route.repo, Path: rq.route.lfs, RequestID: rq.id})
	rq.transfer.In, rq.transfer.Out = result.In, result.Out
	if result.IsBroken {
		rq.began = true
		return result.Refusal
	}
	if result.Refusal != nil {
		rq.transfer.Status, rq.transfer.Reason = result.Refusal.Status, result.Refusal.Reason
	}
	return nil
}

// unbound removes the server's time limits, which are for short requests. Transfers
// have their own.
func (rq *request) unbound() {
	c := http.NewResponseController(rq.w)
	_ = c.SetReadDeadline(time.Now().Add(headTimeout)) // fails only without a connection, where no limit is needed
	_ = c.SetWriteDeadline(time.Time{})
}

// refuse answers with a refusal as text, which git prints after "remote:".
func (rq *request) refuse(r *broker.Refusal) {
	rq.transfer.Reason = r.Reason
	rq.log(r)
	if rq.began {
		return
	}
	rq.transfer.Status = r.Status
	if strings.Contains(rq.URL.EscapedPath(), "/info/lfs/") {
		lfs.Refuse(rq.w, r, rq.id)
		return
	}
	header := rq.w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Gatepass-Decision", "refused; rule="+r.Reason)
	if r.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int((r.RetryAfter+time.Second-1)/time.Second)))
	}
	switch {
	case r.Status == http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Basic realm="gatepass", charset="UTF-8"`)
	case r.Status == http.StatusMethodNotAllowed:
		header.Set("Allow", r.Detail[strings.LastIndexByte(r.Detail, ' ')+1:])
	}
	rq.w.WriteHeader(r.Status)
	_, _ = rq.w.Write([]byte("gatepass: " + usererr.Escape(r.Detail) + "\n")) // fails only if the client closed the connection
}

func (rq *request) log(r *broker.Refusal) {
	if errors.Is(r.Err, access.ErrNoIdentity) {
		return // git's first request is always without one
	}
	level := slog.LevelInfo
	switch {
	case r.Status >= http.StatusInternalServerError:
		level = slog.LevelError
	case r.Status == http.StatusTooManyRequests:
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{
		slog.String("request_id", rq.id), slog.String("workspace", rq.caller.ID), slog.String("repository", rq.route.repo.String()),
		slog.Int("status", r.Status), slog.String("reason", r.Reason), slog.String("detail", r.Detail),
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	rq.g.Access.Broker.Log.LogAttrs(rq.Context(), level, "refused at the gateway", attrs...)
}

// record writes entries to the audit log. With durable it returns after they are on
// disk.
func (rq *request) record(durable bool, entries ...broker.Entry) error {
	ctx := context.WithoutCancel(rq.Context())
	for i, e := range entries {
		if err := rq.g.Access.Broker.Journal.Write(ctx, e, durable && i == len(entries)-1); err != nil {
			return broker.AuditUnavailable(err)
		}
	}
	return nil
}

// entry returns an audit entry about the request; the caller fills in the rest.
func (rq *request) entry(kind string) broker.Entry {
	e := rq.caller.Entry(kind, rq.g.Access.Broker.Now())
	e.Remote, e.Repository, e.Operation = rq.RemoteAddr, rq.route.repo.String(), string(rq.route.service)
	return e
}

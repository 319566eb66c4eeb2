package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/gitname"
)

// An Observation describes one answer, with few possible values in each field, for
// metrics.
type Observation struct {
	Endpoint string // "token", "git-credentials", …
	Method   string // of the caller's proof; "" without one
	Status   int
	Reason   string
	Cached   bool
	Took     time.Duration
}

// CredentialsPath takes requests in git's credential format.
const CredentialsPath = "/v1/git-credentials"

// maxCredentials is the maximum size of a request in git's format, in bytes.
const maxCredentials = 16 << 10

// Handler serves workspaces.
func (b *Broker) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(api.TokenPath, b.serve("token", b.token))
	mux.HandleFunc(CredentialsPath, b.serve("git-credentials", b.credentials))
	mux.HandleFunc(api.RefusedPushesPath, b.serve("refused-pushes", b.refusedPush))
	for path, e := range b.Extra {
		mux.HandleFunc(path, b.serve(e.Name, e.serve))
	}
	for pattern, handler := range b.Mounted {
		mux.Handle(pattern, handler)
	}
	return withProblems(mux)
}

// Handle makes a handler with what all endpoints share: request ID, problem documents, log
// and metrics. name is for metrics.
func (b *Broker) Handle(name string, handle func(w http.ResponseWriter, r *http.Request, id string) error) http.Handler {
	return b.serve(name, Endpoint{name, handle}.serve)
}

// call is one request and its state.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	id     string
	method string // of the caller's proof
	cached bool
}

// serve adds what all endpoints share: request ID, problem documents, log and metrics.
func (b *Broker) serve(endpoint string, handle func(*call) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		c := &call{w: w, r: r, id: rand.Text()}
		w.Header().Set("X-Request-Id", c.id)
		status, reason := http.StatusOK, ReasonNone
		if err := handle(c); err != nil {
			refusal := RefusalOf(err)
			status, reason = refusal.Status, refusal.Reason
			b.refuse(c, refusal)
		}
		if b.Observe != nil {
			b.Observe(Observation{Endpoint: endpoint, Method: c.method, Status: status, Reason: reason, Cached: c.cached, Took: time.Since(begun)})
		}
	}
}

// refuse answers with a refusal, and logs its cause.
func (b *Broker) refuse(c *call, r *Refusal) {
	attrs := []slog.Attr{slog.String("request_id", c.id), slog.Int("status", r.Status), slog.String("reason", r.Reason), slog.String("detail", r.Detail)}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	b.Log.LogAttrs(c.r.Context(), r.level(), "refused", attrs...)
	if r.RetryAfter > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int((r.RetryAfter+time.Second-1)/time.Second)))
	}
	switch r.Status {
	case http.StatusNoContent:
		c.w.WriteHeader(http.StatusNoContent)
		return
	case http.StatusUnauthorized:
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="gatepass"`)
	}
	p := r.Problem()
	p.Instance = "urn:gatepass:request:" + c.id
	_ = api.WriteProblem(c.w, p) // fails only if the client closed the connection
}

// token answers POST /v1/token.
func (b *Broker) token(c *call) error {
	w, err := b.identify(c)
	if err != nil {
		return err
	}
	request, err := readBody(b, c, w, api.TokenCall.MaxSize, api.TokenCall.Read)
	if err != nil {
		return err
	}
	g, err := b.Vend(c.r.Context(), w, request)
	if err != nil {
		return err
	}
	c.cached = g.Cached
	// Date is by GitHub's clock, like the token's expiry. The workspace's clock may differ:
	// it counts the time between the two.
	c.w.Header().Set("Date", b.TokenTime().UTC().Format(http.TimeFormat))
	return api.WriteAnswer(c.w, answerOf(g))
}

func answerOf(g Grant) api.TokenAnswer {
	return api.TokenAnswer{
		Username: g.Token.Login(), Token: api.NewSecret(g.Token.Secret()), ExpiresAt: g.Token.Expiry.UTC().Truncate(time.Second),
		Repositories: []string{g.Scope.Repo.String()}, RepositoryIDs: g.Token.RepositoryIDs, Permissions: g.Scope.Permissions(),
	}
}

// readBody reads the body of a workspace's request, within the workspace's limit.
func readBody[T any](b *Broker, c *call, w Workspace, size int64, read func(http.ResponseWriter, *http.Request) (T, error)) (got T, err error) {
	err = b.bodies.Read(c.w, w.ID, size, func() error {
		got, err = read(c.w, c.r)
		return err
	})
	return got, malformed(err)
}

// malformed converts a problem of package api to a refusal with its status.
func malformed(err error) error {
	if p, ok := errors.AsType[api.Problem](err); ok {
		return &Refusal{Status: p.Status, Reason: ReasonRequest, Detail: p.Detail}
	}
	return err
}

// GatewaySessionPrefix is the prefix of every session of the git gateway.
const GatewaySessionPrefix = "gpg_"

// identify resolves the caller. It refuses gateway sessions, even on a connection that proves
// an identity.
func (b *Broker) identify(c *call) (Workspace, error) {
	var w Workspace
	var err error = &Refusal{Status: http.StatusUnauthorized, Reason: ReasonIdentity, Detail: "a gateway session is valid only for git and GitHub's API through the gateway"}
	if !strings.HasPrefix(api.Bearer(c.r), GatewaySessionPrefix) {
		w, err = b.Policy().Resolve(c.r.Context(), c.r)
	}
	if err == nil {
		c.method, w.RequestID = w.Caller.Method, c.id
		return w, nil
	}
	return Workspace{}, b.RefuseUnauth(c.r, c.id, "", err)
}

// An Endpoint is a further endpoint of the broker, with the same request ID, problem
// documents, log and metrics.
type Endpoint struct {
	Name string // for metrics
	// Serve answers a request. Its error is a [*Refusal], a problem of package api, or an
	// internal error; it has written nothing in that case.
	Serve func(w http.ResponseWriter, r *http.Request, requestID string) error
}

func (e Endpoint) serve(c *call) error { return malformed(e.Serve(c.w, c.r, c.id)) }

// secure are headers of every answer. Handlers may replace them.
var secure = map[string]string{
	"Cache-Control":                "no-store",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// Secured sets headers that keep browsers from misusing answers. It is outermost, so that
// errors have them as well.
func Secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range secure {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}

// credentials answers POST /v1/git-credentials: git's request in, git's answer out
// (https://git-scm.com/docs/git-credential#IOFMT), for clients that are only a shell
// script. The operation is always a write, because the format cannot name one. A
// request that is not for this broker gets an empty answer.
func (b *Broker) credentials(c *call) error {
	if c.r.Method != http.MethodPost {
		return NotAllowed(c.w, http.MethodPost)
	}
	w, err := b.identify(c)
	if err != nil {
		return err
	}
	body, err := readBody(b, c, w, maxCredentials, func(w http.ResponseWriter, r *http.Request) ([]byte, error) {
		return api.ReadBody(w, r, maxCredentials)
	})
	if err != nil {
		return err
	}
	request, err := credentialRequest(body)
	if err != nil {
		return err
	}
	g, err := b.Vend(c.r.Context(), w, request)
	if err != nil {
		return err
	}
	c.cached = g.Cached
	h := c.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, err = fmt.Fprintf(c.w, "username=%s\npassword=%s\npassword_expiry_utc=%d\n", g.Token.Login(), g.Token.Secret(), g.Token.Expiry.Unix())
	return err
}

// credentialRequest parses git's format.
func credentialRequest(body []byte) (api.TokenRequest, error) {
	request, err := protocol.ParseRequest(body)
	if err != nil {
		return api.TokenRequest{}, BadRequest("the request is not in the format of git-credential")
	}
	host, ok := gitname.Host(request.Host)
	if request.Protocol != "https" || !ok {
		return api.TokenRequest{}, &Refusal{Status: http.StatusNoContent, Reason: ReasonHost, Detail: "this broker serves https only"}
	}
	var repo gitname.Repo
	repo.Owner, repo.Name, ok = request.Repository()
	if !ok {
		return api.TokenRequest{}, BadRequest("the request has no repository; set credential.useHttpPath")
	}
	return api.TokenRequest{Host: host, Repo: repo, Operation: api.Write}, nil
}

// ReasonReported is the reason of refused pushes that a workspace reported: the broker
// decided nothing.
const ReasonReported = "reported-by-workspace"

// PushLimits bound the refs of refused pushes that one workspace reports: each is a line of
// the audit log.
func PushLimits() Limits { return Limits{Rate: 1, Burst: 2 * api.MaxPushUpdates} }

// refusedPush answers POST /v1/refused-pushes: a workspace's guard reports a push that it
// refused. Reports of blocked workspaces are taken as well, and repositories outside of the
// profile are recorded as reported: operators want to know of such attempts.
func (b *Broker) refusedPush(c *call) error {
	c.r = c.r.WithContext(KeepProofs(c.r.Context()))
	w, err := b.identify(c)
	if err != nil {
		return err
	}
	push, err := readBody(b, c, w, api.RefusedPushCall.MaxSize, api.RefusedPushCall.Read)
	if err != nil {
		return err
	}
	if err := b.pushes.take(w.ID, len(push.Updates)); err != nil {
		return err // counted in metrics and not recorded, so that no workspace fills the disk
	}
	for _, e := range pushEntries(b.Now(), w, push) {
		if err := b.Journal.Write(context.WithoutCancel(c.r.Context()), e, false); err != nil {
			return AuditUnavailable(err)
		}
		if b.Pushed != nil {
			b.Pushed(e.Operation)
		}
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// pushEntries makes a line per ref: one line for all could be too long.
func pushEntries(now time.Time, w Workspace, p api.RefusedPush) []Entry {
	entries := make([]Entry, len(p.Updates))
	for i, u := range p.Updates {
		e := requestEntry(now, w, api.TokenRequest{Host: p.Host, Repo: p.Repo, Operation: u.Action})
		e.Kind, e.Decision, e.Reason = KindReported, Refused, ReasonReported
		e.Ref, e.Detail = u.Ref, u.Reason
		entries[i] = e
	}
	return entries
}

// withProblems answers requests without a handler with a problem document, like all other
// errors.
func withProblems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler, pattern := mux.Handler(r); pattern == "" {
			mute := &statusOnly{ResponseWriter: w}
			handler.ServeHTTP(mute, r)
			_ = api.WriteProblem(w, api.NewProblem(mute.status, "this broker serves no such path, or not by that method")) // fails only if the client closed the connection
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// statusOnly discards an answer and keeps its status.
type statusOnly struct {
	http.ResponseWriter
	status int
}

func (m *statusOnly) WriteHeader(status int) { m.status = status }

func (m *statusOnly) Write(p []byte) (int, error) { return len(p), nil }

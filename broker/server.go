package broker

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
)

// An Observation is one answer, with few possible values in each field.
type Observation struct {
	Endpoint string // "token", "git-credentials", …
	Method   string // of the caller's proof; "" where nothing was proved
	Status   int
	Reason   string
	Cached   bool
	Took     time.Duration
}

// CredentialsPath is where git's own format is spoken.
const CredentialsPath = "/v1/git-credentials"

// maxCredentials bounds a request in git's format, in bytes.
const maxCredentials = 16 << 10

// Handler answers workspaces.
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

// Handle makes a handler that does what all endpoints share: the request's id,
// the problem document of a refusal, the log and the metrics. name is for
// metrics.
func (b *Broker) Handle(name string, handle func(w http.ResponseWriter, r *http.Request, id string) error) http.Handler {
	return b.serve(name, Endpoint{name, handle}.serve)
}

// call is one request on its way through a handler.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	id     string
	method string // of the caller's proof
	cached bool
}

// serve does what all endpoints share: the request's id, the refusal as a
// problem document, the log and the metrics.
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

// level is that of a refusal in the broker's own log: only what is ours to mend is
// an error. Callers who ask too often do not fill it; metrics count them.
func (r *Refusal) level() slog.Level {
	switch {
	case r.Status >= http.StatusInternalServerError:
		return slog.LevelError
	case r.Status == http.StatusTooManyRequests:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// refuse answers with a refusal. What lies below goes to the log.
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
	_ = api.WriteProblem(c.w, p) // the client has gone
}

// token answers POST /v1/token.
func (b *Broker) token(c *call) error {
	w, err := b.identify(c)
	if err != nil {
		return err
	}
	request, err := readOf(b, c, w, api.TokenCall.MaxSize, api.TokenCall.Read)
	if err != nil {
		return err
	}
	g, err := b.Vend(c.r.Context(), w, request)
	if err != nil {
		return err
	}
	c.cached = g.Cached
	// The Date is of the clock that the token's end is of: the workspace, whose clock
	// may be another one, counts the time between them.
	c.w.Header().Set("Date", b.TokenTime().UTC().Format(http.TimeFormat))
	return api.WriteAnswer(c.w, answerOf(g))
}

func answerOf(g Grant) api.TokenAnswer {
	return api.TokenAnswer{
		Username: g.Token.Login(), Token: api.NewSecret(g.Token.Secret()), ExpiresAt: g.Token.Expiry.UTC().Truncate(time.Second),
		Repositories: []string{g.Scope.Repo.String()}, RepositoryIDs: g.Token.RepositoryIDs, Permissions: g.Scope.Permissions(),
	}
}

// readOf has read take the body of a workspace's call.
func readOf[T any](b *Broker, c *call, w Workspace, size int64, read func(http.ResponseWriter, *http.Request) (T, error)) (got T, err error) {
	err = b.bodies.Read(c.w, w.ID, size, func() error {
		got, err = read(c.w, c.r)
		return err
	})
	return got, malformed(err)
}

// malformed keeps the status that package api chose.
func malformed(err error) error {
	if p, ok := errors.AsType[api.Problem](err); ok {
		return &Refusal{Status: p.Status, Reason: ReasonRequest, Detail: p.Detail}
	}
	return err
}

// GatewaySessionPrefix begins every session of the git gateway.
const GatewaySessionPrefix = "gpg_"

// identify resolves the caller. A session of the gateway is refused, also where the
// connection proves an identity.
func (b *Broker) identify(c *call) (Workspace, error) {
	var w Workspace
	var err error = &Refusal{Status: http.StatusUnauthorized, Reason: ReasonIdentity, Detail: "a session of the gateway is for git and GitHub's API through the gateway only"}
	if !strings.HasPrefix(api.Bearer(c.r), GatewaySessionPrefix) {
		w, err = b.Policy().Resolve(c.r.Context(), c.r)
	}
	if err == nil {
		c.method, w.RequestID = w.Caller.Method, c.id
		return w, nil
	}
	return Workspace{}, b.RefuseUnauth(c.r, c.id, "", err)
}

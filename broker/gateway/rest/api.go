// Package rest serves GitHub's REST and GraphQL APIs to workspaces that have no GitHub
// token. Clients such as gh and octokit send a gateway session, and the broker forwards
// their requests with an installation token that cannot move a ref.
//
// The token is the protection: it gives access to one repository, and has the profile's
// permissions except those that move refs. So no list of allowed routes is needed. By
// the path, this package refuses only other repositories, and requests that would
// reveal or revoke the token.
//
// Answers lead back to the gateway: absolute API URLs in their headers and JSON are
// rewritten, and the broker itself downloads files that GitHub redirects to its
// storage.
package rest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
)

// Settings are the settings that a configuration can change. The zero value has the
// defaults.
type Settings struct {
	PerHour int      // requests per hour of one workspace; 0 means DefaultPerHour
	Storage []string // hosts to download from; nil means [DefaultStorage]
}

// Options are what [New] needs to know. The zero value works.
type Options struct {
	Settings func() Settings // returns the settings in force; nil means the defaults
	// Bot returns the login of an App's bot, such as "gatepass[bot]". GET /user answers
	// with that login; if Bot is nil, GET /user is forwarded unchanged. app is the
	// client ID of the App that minted the token; "" if unknown.
	Bot func(ctx context.Context, app string) (login string, err error)
	// Watched returns a context that ends when a request of the caller for a repository
	// of owner must end early; its cause is then a [*broker.Refusal]. The caller must
	// call done when the request has ended. If it is nil, no request ends early.
	Watched func(ctx context.Context, c access.Caller, owner string) (watched context.Context, done func())
}

// An API serves GitHub's APIs. Make it with [New].
type API struct {
	access *access.Access
	o      Options
	budget budget
	cache  cache
}

// New returns an API for a's GitHub.
func New(a *access.Access, o Options) *API {
	if o.Watched == nil {
		o.Watched = func(ctx context.Context, _ access.Caller, _ string) (context.Context, func()) { return ctx, func() {} }
	}
	if o.Settings == nil {
		o.Settings = func() Settings { return Settings{} }
	}
	return &API{access: a, o: o}
}

// perHour returns the hourly budget of one workspace.
func (a *API) perHour() int {
	if n := a.o.Settings().PerHour; n > 0 {
		return n
	}
	return DefaultPerHour
}

func (a *API) storage() []string {
	if hosts := a.o.Settings().Storage; hosts != nil {
		return hosts
	}
	return DefaultStorage(a.access.Upstream.API)
}

// call is one request in an API.
type call struct {
	*API
	w     http.ResponseWriter
	r     *http.Request
	id    string
	begun time.Time

	target target
	caller access.Caller
	grant  broker.Grant
	status int // the status sent; 0 before

	known *cached // the cached answer, which GitHub may confirm; nil if there is none

	hasErrors bool // GraphQL answered 200, but with errors
}

// ServeHTTP answers one request. Refusals have the form of GitHub's errors, with
// DecisionHeader.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{API: a, w: w, r: r, id: rand.Text(), begun: time.Now()}
	w.Header().Set("X-Request-Id", c.id)
	err := c.serve()
	reason := broker.ReasonNone
	if err != nil && !errors.Is(err, errCut) {
		refusal := broker.RefusalOf(err)
		c.status, reason = refusal.Status, refusal.Reason
		c.log(refusal)
		writeRefusal(w, refusal)
	}
	if observe := a.access.Broker.Observe; observe != nil {
		observe(broker.Observation{Endpoint: "api", Method: c.caller.Caller.Method, Status: c.status, Reason: reason, Cached: c.grant.Cached, Took: time.Since(c.begun)})
	}
	if errors.Is(err, errCut) {
		panic(http.ErrAbortHandler) // shows the client that the answer is incomplete
	}
}

// log logs a refusal.
func (c *call) log(r *broker.Refusal) {
	level := slog.LevelInfo
	switch {
	case r.Status >= http.StatusInternalServerError:
		level = slog.LevelError
	case r.Status == http.StatusTooManyRequests:
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{slog.String("request_id", c.id), slog.Int("status", r.Status), slog.String("reason", r.Reason), slog.String("detail", r.Detail)}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	c.access.Broker.Log.LogAttrs(c.r.Context(), level, "refused", attrs...)
}

// serve answers the request. Its error is a [*broker.Refusal] if nothing was answered,
// or errCut.
func (c *call) serve() (err error) {
	if err := c.read(); err != nil {
		return err
	}
	if c.caller, err = c.access.Caller(c.r, c.id); err != nil {
		return err
	}
	leave, err := c.budget.enter(c.caller.ID, c.now())
	if err != nil {
		return err
	}
	defer leave()
	if c.target.area == restArea && c.target.path == "/rate_limit" {
		return c.rateLimit()
	}
	if err := c.takePoints(1); err != nil {
		return err
	}
	if err := c.awaitTurn(); err != nil {
		return err
	}
	return c.pass()
}

func (a *API) now() time.Time { return a.access.Broker.Now() }

// account returns the account that the request counts against: GraphQL has its own, as
// at GitHub.
func (c *call) account() account {
	if c.target.area == graphqlArea {
		return account{c.caller.ID, graphqlResource}
	}
	return account{c.caller.ID, coreResource}
}

// left returns what is left of the workspace's budget.
func (c *call) left() balance { return c.budget.remaining(c.account(), c.perHour(), c.now()) }

// takePoints takes points from the workspace's budget.
func (c *call) takePoints(points int) error {
	left, err := c.budget.take(c.account(), c.perHour(), points, c.now())
	if err != nil {
		left.write(c.w.Header())
	}
	return err
}

// pass answers the requests that the broker answers itself, and forwards the others.
func (c *call) pass() error {
	t := c.target
	if t.area == restArea && t.path == "/meta" && isSafe(c.r.Method) {
		return c.meta()
	}
	if err := c.authorize(); err != nil {
		return c.refused(err)
	}
	if t.area == restArea && t.path == "/user" && isSafe(c.r.Method) && c.o.Bot != nil {
		login, err := c.o.Bot(c.r.Context(), c.grant.Token.App)
		if err != nil {
			return err
		}
		c.target.path = "/users/" + strings.NewReplacer("[", "%5B", "]", "%5D").Replace(login)
	}
	return c.recorded(c.forward)
}

// isSafe reports whether a method changes nothing.
func isSafe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// DecisionHeader is in every refusal by the gateway, and in no answer by GitHub, so
// that programs can tell the two apart.
const DecisionHeader = "Gatepass-Decision"

// A problem is a refusal in the form of GitHub's errors, which every client of its API
// understands.
type problem struct {
	Message          string `json:"message"`
	DocumentationURL string `json:"documentation_url"`
	Status           string `json:"status"`
}

const documentation = "https://github.com/gatepass/gatepass/blob/main/docs/gateway.md#gh-and-the-api"

// writeRefusal answers with a refusal by the gateway.
func writeRefusal(w http.ResponseWriter, r *broker.Refusal) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set(DecisionHeader, "refused; rule="+r.Reason)
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.RetryAfter+time.Second-1)/time.Second)))
	}
	status := r.Status
	if status == http.StatusNoContent { // "another host" has no body, but this form has one
		status = http.StatusNotFound
	}
	body, err := json.Marshal(problem{"gatepass: " + r.Detail, documentation, strconv.Itoa(status)})
	if err != nil { // cannot happen with three strings
		body = []byte("{}")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // fails only if the client closed the connection
}

func refuse(status int, reason, detail string) *broker.Refusal {
	return &broker.Refusal{Status: status, Reason: reason, Detail: detail}
}

// notHere refuses what the workspace may not see, with 404 as GitHub does.
func notHere(detail string) *broker.Refusal {
	return refuse(http.StatusNotFound, broker.ReasonRepository, detail)
}

// unavailable is the refusal if GitHub cannot be reached or its answer cannot be used.
func unavailable(detail string, err error) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusBadGateway, Reason: broker.ReasonGitHub, Detail: detail, Err: err}
}

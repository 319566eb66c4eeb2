// Package rest serves GitHub's REST and GraphQL APIs to workspaces that have no token of
// GitHub's: gh, octokit and the like show a session of the gateway, and the broker
// forwards their requests with an installation token that cannot move a ref.
//
// The token is the fence: it opens one repository and has the profile's permissions
// without those that move refs, so that no table of routes has to be complete. What this
// package refuses by its path is other repositories, and what would tell of the token or
// end it.
//
// Answers lead back here: the absolute URLs of the API in their headers and JSON are
// written anew, and files that GitHub redirects to its storage are fetched by the broker.
package rest

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
)

// Settings are what a configuration may say. The zero value is the defaults.
type Settings struct {
	PerHour int      // requests of one workspace in an hour; 0 means DefaultPerHour
	Storage []string // hosts that downloads are fetched from; nil means [DefaultStorage]
}

// Options are what an API may be told. The zero value works.
type Options struct {
	Settings func() Settings // in force now; nil means the defaults
	// Bot returns the login of an App's bot, such as "gatepass[bot]", which is who GET
	// /user answers with; nil leaves GitHub to answer. app is the client ID of the App that
	// minted the token, and "" where that is not known.
	Bot func(ctx context.Context, app string) (login string, err error)
	// Watched returns a context that ends when a request of the caller for repositories of
	// the owner has to end early, with a [*broker.Refusal] as its cause; done is called when
	// the request has ended. nil ends none early.
	Watched func(ctx context.Context, c access.Caller, owner string) (watched context.Context, done func())
}

// An API is the handler of GitHub's APIs. Make it with [New].
type API struct {
	access *access.Access
	o      Options
	budget budget
	cache  cache
}

// New returns the APIs of the GitHub behind a.
func New(a *access.Access, o Options) *API {
	if o.Watched == nil {
		o.Watched = func(ctx context.Context, _ access.Caller, _ string) (context.Context, func()) { return ctx, func() {} }
	}
	if o.Settings == nil {
		o.Settings = func() Settings { return Settings{} }
	}
	return &API{access: a, o: o}
}

// perHour is the budget of one workspace now.
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

// call is one request on its way through an API.
type call struct {
	*API
	w     http.ResponseWriter
	r     *http.Request
	id    string
	begun time.Time

	target target
	caller access.Caller
	grant  broker.Grant
	status int // that was answered; 0 before

	known *cached // what GitHub answered before, and may say that it still holds; nil for nothing

	hasErrors bool // an answer to GraphQL with status 200 says that something failed
}

// ServeHTTP answers one request. Refusals are in the form of GitHub's errors, with
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
		panic(http.ErrAbortHandler) // so that the caller sees that the answer is not whole
	}
}

// log writes a refusal to the broker's own log.
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

// serve answers, or returns why not: a [*broker.Refusal] where nothing was answered, or
// errCut.
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
	if err := c.spend(1); err != nil {
		return err
	}
	if err := c.awaitTurn(); err != nil {
		return err
	}
	return c.pass()
}

func (a *API) now() time.Time { return a.access.Broker.Now() }

// account is the budget that the request counts in: GraphQL has one of its own, as at
// GitHub.
func (c *call) account() account {
	if c.target.area == graphqlArea {
		return account{c.caller.ID, graphqlResource}
	}
	return account{c.caller.ID, coreResource}
}

// left is what the workspace has left of its budget.
func (c *call) left() balance { return c.budget.look(c.account(), c.perHour(), c.now()) }

// spend counts so many points against the workspace's budget.
func (c *call) spend(points int) error {
	left, err := c.budget.spend(c.account(), c.perHour(), points, c.now())
	if err != nil {
		left.write(c.w.Header())
	}
	return err
}

// pass answers a request that may be one of the broker's own, or forwards it.
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

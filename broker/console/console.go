// Package console is what operators of a broker see and do, and what GitHub tells
// a broker without being asked.
//
// Operators look at what workspaces were given, take it away from a workspace, an
// account or everybody, and ask what a caller would get: by JSON under /v1, and on
// a page in a browser. Taking away comes in an order that a crash cannot turn
// into a token that lives on unseen: the bar is in the store first, then each
// token is marked, revoked at GitHub, written down and deleted. What fails is
// done by [Console.Reconcile], which any replica runs.
package console

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// GitHub is what a console asks. [mint.App] is one.
type GitHub interface {
	InstallationFor(ctx context.Context, owner, name string) (mint.Installation, error)
	InstallationOf(ctx context.Context, owner string) (mint.Installation, error)
	Installations(ctx context.Context) iter.Seq2[mint.Installation, error]
	Revoke(ctx context.Context, t credential.Token) error
	Rate() (r mint.Rate, ok bool)
}

// ErrNoWebhooks reports that no secret for webhooks is configured.
var ErrNoWebhooks = errors.New("no webhooks are configured")

// Options are the parts of the broker that a Console works on. Those that have no
// comment must be set.
type Options struct {
	Server *broker.Broker // its Policy, Journal, Log, Now and Observe are used
	Store  store.Store
	App    GitHub
	Bars   *broker.Bars // its Took is set by New
	Cache  *broker.Cache

	// Recorder has seen what the journal was told; nil means that the page shows
	// neither refusals, refused pushes, nor when a workspace was last seen.
	Recorder *Recorder
	// Issuer makes who takes away tokens that were delivered to workspaces.
	Issuer func(context.Context) (*workspace.Issuer, error)
	// Budget is asked before GitHub is, for a workspace that has something
	// explained; nil lets all through.
	Budget func(workspace string) error
	// Secret is what GitHub signs webhooks with, read anew for each. It returns
	// ErrNoWebhooks where there are to be none; so does nil.
	Secret func() (string, error)
	// Keys are what logins are signed with, so that one holds at all replicas; nil
	// means those of Store.
	Keys *identity.Keyset
	// AuditHead is the end of the audit log's chain, for the page; nil means that
	// it is not shown.
	AuditHead func() string
}

// A Console serves operators. Make it with [New].
type Console struct {
	Options
	csrf       *http.CrossOriginProtection
	logins     *limiter
	installed  installations
	deliveries deliveries
	reconciler reconciler
	listing    listing
	forms      broker.Bodies // of logins
	documents  broker.Bodies // that anybody may have
	bodies     broker.Bodies // of deliveries
	waiting    chan struct{} // holds one for each delivery of GitHub's that waits
	acting     chan struct{} // and for each that is acted on
}

// New makes a Console. Nothing is asked or written yet.
func New(o Options) *Console {
	if o.Secret == nil {
		o.Secret = func() (string, error) { return "", ErrNoWebhooks }
	}
	if o.Recorder == nil {
		o.Recorder = new(Recorder)
	}
	if o.Keys == nil {
		o.Keys = &identity.Keyset{Store: o.Store, Now: o.Server.Now}
	}
	c := &Console{Options: o, csrf: http.NewCrossOriginProtection(), waiting: make(chan struct{}, maxWaiting), acting: make(chan struct{}, maxActing)}
	c.bodies.Each = leastDelivery
	c.csrf.SetDenyHandler(o.Server.Handle("cross-origin", crossOrigin))
	c.logins = &limiter{now: c.now}
	c.listing.store, c.listing.now = o.Store, c.now
	o.Bars.Took = c.forget
	return c
}

func (c *Console) now() time.Time {
	if c.Server.Now == nil {
		return time.Now()
	}
	return c.Server.Now()
}

// maxDoubt is what a clock is taken to be off that GitHub's was never heard of.
const maxDoubt = 24 * time.Hour

// tokenTime is the time by which tokens end. While GitHub's clock is not known it is
// early, so that no live token is taken for one that ran out.
func (c *Console) tokenTime() time.Time {
	if c.Server.TokenTime == nil {
		return c.now()
	}
	now, isKnown := c.Server.TokenTime()
	if !isKnown {
		now = now.Add(-maxDoubt)
	}
	return now
}

// Routes are the endpoints, for [broker.Config.Mounted].
func (c *Console) Routes() map[string]http.Handler {
	routes := map[string]http.Handler{
		api.WorkspacesPath:                  c.operators("workspaces", methods{http.MethodGet: c.listWorkspaces}),
		api.WorkspacesPath + "/{id}/revoke": c.operators("revoke", methods{http.MethodPost: c.revokeWorkspace}),
		api.WorkspacesPath + "/{id}/bar":    c.operators("admit", methods{http.MethodDelete: c.admitWorkspace}),
		api.KillPath:                        c.operators("kill", methods{http.MethodPost: c.kill}),
		api.AdmitPath:                       c.operators("admit", methods{http.MethodPost: c.admitTarget}),
		api.ExplainPath:                     c.csrf.Handler(c.Server.Handle("explain", c.explain)),
		WebhookPath:                         c.Server.Handle("webhook", c.webhook),
		api.OpenAPIPath:                     c.Server.Handle("openapi", c.serveOpenAPI),
	}
	for pattern, handler := range c.pages() {
		routes[pattern] = handler
	}
	return routes
}

// request is one call of an operator.
type request struct {
	*http.Request
	w   http.ResponseWriter
	id  string
	who broker.Operator
}

// methods are the handlers of one path.
type methods map[string]func(request) error

// operators serves a path to operators only.
func (c *Console) operators(name string, by methods) http.Handler {
	return c.csrf.Handler(c.Server.Handle(name, func(w http.ResponseWriter, r *http.Request, id string) error {
		handle := by[r.Method]
		if handle == nil {
			return notAllowed(w, by)
		}
		who, err := c.Server.Policy().Operator(r.Context(), r)
		if err != nil {
			return c.stranger(r, id, err)
		}
		return handle(request{r, w, id, who})
	}))
}

func notAllowed(w http.ResponseWriter, by methods) error {
	var known []string
	for method := range by {
		known = append(known, method)
	}
	w.Header().Set("Allow", strings.Join(known, ", "))
	return &broker.Refusal{Status: http.StatusMethodNotAllowed, Reason: broker.ReasonRequest, Detail: "this path is for " + strings.Join(known, " and ")}
}

// stranger writes down that somebody who is no operator asked for what is
// theirs.
func (c *Console) stranger(r *http.Request, id string, err error) error {
	if err := c.Server.TooManyOf(r); err != nil {
		return err
	}
	e := broker.Entry{Time: c.now().UTC(), Kind: broker.KindRequest, RequestID: id, Remote: r.RemoteAddr, Operation: r.Method + " " + r.URL.Path, Decision: broker.Refused, Policy: c.Server.Policy().Hash}
	if refusal, ok := errors.AsType[*broker.Refusal](err); ok {
		e.Reason, e.Detail = refusal.Reason, refusal.Detail
	}
	if writeErr := c.Server.Journal.Write(context.WithoutCancel(r.Context()), e, false); writeErr != nil {
		return unwritten(errors.Join(err, writeErr))
	}
	return err
}

// crossOrigin refuses what a browser was led to send by a page of another site.
func crossOrigin(http.ResponseWriter, *http.Request, string) error {
	return &broker.Refusal{Status: http.StatusForbidden, Reason: broker.ReasonRequest, Detail: "the browser says that this request is of another site's page"}
}

func unwritten(err error) error {
	return &broker.Refusal{
		Status: http.StatusServiceUnavailable, Reason: broker.ReasonAudit, RetryAfter: retry, Err: err,
		Detail: "the broker's audit log cannot be written",
	}
}

// retry is when a caller may try again after something of ours failed.
const retry = 10 * time.Second

func noStore(err error) error {
	return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, RetryAfter: retry, Err: err, Detail: "the broker's store cannot be had"}
}

func bad(detail string) error {
	return &broker.Refusal{Status: http.StatusBadRequest, Reason: broker.ReasonRequest, Detail: detail}
}

// queryOf reads the query of a request, which has only these keys, each once: what a
// filter before the broker let through would not be what is answered otherwise.
func queryOf(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("the query cannot be read")
	}
	for key, values := range q {
		switch {
		case !slices.Contains(known, key):
			return nil, bad(fmt.Sprintf("unknown key %.60q in the query", key))
		case len(values) > 1:
			return nil, bad(fmt.Sprintf("key %q is given twice in the query", key))
		}
	}
	return q, nil
}

// entry is the beginning of what is written down of an operator's action.
func (c *Console) entry(kind string, r request, target string) broker.Entry {
	return broker.Entry{
		Time: c.now().UTC(), Kind: kind, RequestID: r.id, Method: r.who.Method, Subject: r.who.Subject, Rule: r.who.Name,
		Policy: c.Server.Policy().Hash, Remote: r.RemoteAddr, Target: target, Decision: broker.Granted,
	}
}

func (c *Console) log(ctx context.Context, what string, err error) {
	c.Server.Log.LogAttrs(ctx, slog.LevelError, what, slog.String("error", err.Error()))
}

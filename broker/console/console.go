// Package console is for the broker's operators. They list what workspaces got, revoke
// it, and ask what a caller would get: by JSON under /v1, and on a page in a browser.
// Package revoke does the revoking.
package console

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/revoke"
	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// A GitHub is what a Console asks of GitHub. [mint.App] is one.
type GitHub interface {
	InstallationFor(ctx context.Context, owner, name string) (mint.Installation, error)
	InstallationOf(ctx context.Context, owner string) (mint.Installation, error)
	Installations(ctx context.Context) iter.Seq2[mint.Installation, error]
	Rate() (r mint.Rate, ok bool)
}

// A Pool is a GitHub with several Apps.
type Pool interface {
	// Apps returns the store's Apps, the first one first.
	Apps() []App
}

// An App is one of a Pool.
type App struct {
	Name     string // its name in the store
	ClientID string // "" if unknown
	GitHub
	Problem error // why it cannot be used; nil if it can
}

// Options are the parts of the broker that a Console uses. Fields without a comment
// must be set.
type Options struct {
	Server  *broker.Broker // its Policy, Journal and Log are used
	Store   store.Store
	App     GitHub
	Revoker *revoke.Revoker // New sets its Changed

	// Recorder is the journal's recorder. Nil means that the page shows no refusals, no
	// refused pushes, and not when a workspace was last seen.
	Recorder *Recorder
	// Budget is asked before GitHub is asked for an explanation, with the workspace; an
	// error stops that. Nil allows all.
	Budget func(workspace string) error
	// Keys sign logins, so that a login is valid at all replicas; nil means the keys of
	// Store.
	Keys *identity.Keyset
	// AuditHead returns the head of the audit log's chain, for the page; nil means that
	// it is not shown.
	AuditHead func() string
}

// A Console serves operators. Make it with [New].
type Console struct {
	Options
	csrf      *http.CrossOriginProtection
	logins    *broker.Limiter // failed logins, by address
	installed installations
	forms     broker.BodyLimiter // of logins
	documents broker.BodyLimiter // requests for public documents
}

// New makes a Console. It does not read, write or send anything.
func New(o Options) *Console {
	if o.Recorder == nil {
		o.Recorder = new(Recorder)
	}
	if o.Keys == nil {
		o.Keys = &identity.Keyset{Store: o.Store, Now: o.Revoker.Now}
	}
	c := &Console{Options: o, csrf: http.NewCrossOriginProtection()}
	c.csrf.SetDenyHandler(o.Server.Handle("cross-origin", crossOrigin))
	c.logins = &broker.Limiter{Limits: loginLimits, Now: o.Revoker.Now}
	o.Revoker.Changed = c.installed.forget
	return c
}

// Routes returns the endpoints, for [broker.Config.Mounted].
func (c *Console) Routes() map[string]http.Handler {
	routes := map[string]http.Handler{
		api.WorkspacesPath:                  c.operators("workspaces", methods{http.MethodGet: c.listWorkspaces}),
		api.WorkspacesPath + "/{id}/revoke": c.operators("revoke", methods{http.MethodPost: c.revokeWorkspace}),
		api.WorkspacesPath + "/{id}/block":  c.operators("unblock", methods{http.MethodDelete: c.unblockWorkspace}),
		api.WorkspacesPath + "/{id}/bar":    c.operators("admit", methods{http.MethodDelete: c.unblockWorkspace}), // deprecated
		api.KillPath:                        c.operators("kill", methods{http.MethodPost: c.revokeAny}),
		api.UnblockPath:                     c.operators("unblock", methods{http.MethodPost: c.unblockTarget}),
		api.AdmitPath:                       c.operators("admit", methods{http.MethodPost: c.unblockTarget}), // deprecated
		api.ExplainPath:                     c.csrf.Handler(c.Server.Handle("explain", c.explain)),
		api.OpenAPIPath:                     c.Server.Handle("openapi", c.serveOpenAPI),
	}
	for pattern, handler := range (webPages{c}).routes() {
		routes[pattern] = handler
	}
	return routes
}

// request is one request of an operator.
type request struct {
	*http.Request
	w   http.ResponseWriter
	id  string
	who broker.Operator
}

// methods are the handlers of one path, by method.
type methods map[string]func(request) error

// operators serves a path to operators only.
func (c *Console) operators(name string, by methods) http.Handler {
	return c.csrf.Handler(c.Server.Handle(name, func(w http.ResponseWriter, r *http.Request, id string) error {
		handle := by[r.Method]
		if handle == nil {
			return broker.NotAllowed(w, slices.Sorted(maps.Keys(by))...)
		}
		who, err := c.Server.Policy().Operator(r.Context(), r)
		if err != nil {
			return c.refuseUnauth(r, id, err)
		}
		return handle(request{r, w, id, who})
	}))
}

// refuseUnauth refuses a caller that is not an operator.
func (c *Console) refuseUnauth(r *http.Request, id string, err error) error {
	return c.Server.RefuseUnauth(r, id, r.Method+" "+r.URL.Path, err)
}

// crossOrigin refuses requests that a page of another site made the browser send.
func crossOrigin(http.ResponseWriter, *http.Request, string) error {
	return &broker.Refusal{Status: http.StatusForbidden, Reason: broker.ReasonRequest, Detail: "the browser says that this request comes from another site"}
}

// queryOf reads the query of a request. It refuses unknown and repeated keys: a filter
// before the broker might read them differently.
func queryOf(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, broker.BadRequest("the query is malformed")
	}
	for key, values := range q {
		switch {
		case !slices.Contains(known, key):
			return nil, broker.BadRequest(fmt.Sprintf("unknown key %.60q in the query", key))
		case len(values) > 1:
			return nil, broker.BadRequest(fmt.Sprintf("key %q is given twice in the query", key))
		}
	}
	return q, nil
}

// problemPages shows a problem document as a page to a person in a browser.
func (c *Console) problemPages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held := &problemWriter{ResponseWriter: w}
		next.ServeHTTP(held, r)
		if !held.isProblem {
			return
		}
		p := api.DecodeProblem(api.ProblemMediaType, held.body.Bytes())
		_ = webPages{c}.show(request{Request: r, w: w}, held.status, view{Title: p.Title, Problem: &p}) // no error: the template was parsed at the start
	})
}

// A problemWriter holds back an answer that is a problem document.
type problemWriter struct {
	http.ResponseWriter
	isProblem bool
	status    int
	body      bytes.Buffer
}

func (h *problemWriter) WriteHeader(status int) {
	h.status = status
	if h.isProblem = h.Header().Get("Content-Type") == api.ProblemMediaType; !h.isProblem {
		h.ResponseWriter.WriteHeader(status)
	}
}

func (h *problemWriter) Write(data []byte) (int, error) {
	if h.isProblem {
		return h.body.Write(data)
	}
	return h.ResponseWriter.Write(data)
}

func (h *problemWriter) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// openapiText describes all endpoints of the broker (OpenAPI 3.1,
// https://spec.openapis.org/oas/v3.1.1.html).
//
//go:embed openapi.yaml
var openapiText []byte

// openapiDocument is the description as JSON.
var openapiDocument = sync.OnceValues(func() (json.RawMessage, error) {
	var document map[string]any
	if err := yaml.Unmarshal(openapiText, &document); err != nil {
		return nil, err
	}
	return json.Marshal(document)
})

// serveOpenAPI answers GET /v1/openapi.json to every caller: the document says nothing
// about this particular broker.
func (c *Console) serveOpenAPI(w http.ResponseWriter, r *http.Request, _ string) error {
	if r.Method != http.MethodGet {
		return broker.NotAllowed(w, http.MethodGet)
	}
	document, err := openapiDocument()
	if err != nil {
		return err
	}
	_ = c.documents.Write(w, fairshare.Address(r.RemoteAddr), int64(len(document)), func() error {
		return api.WriteJSON(w, http.StatusOK, document)
	}) // fails only if the client closed the connection
	return nil
}

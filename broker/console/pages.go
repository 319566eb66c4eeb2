package console

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/brand"
	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/internal/usererr"
)

// The paths of the page. Only PagePath is for people to know.
const (
	PagePath    = "/"
	stylePath   = "/console/style.css"
	loginPath   = "/console/login"
	logoutPath  = "/console/logout"
	revokePath  = "/console/revoke"
	unblockPath = "/console/unblock"
	admitPath   = "/console/admit" // of pages that an earlier version wrote
	entryPath   = "/console/entry"
)

var (
	//go:embed style.css
	ownStyle string
	style    = []byte(brand.Palette + ownStyle)
	//go:embed page.html
	pageText string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"left": left, "clock": clock, "since": clockSince, "short": short, "pair": pair, "plain": usererr.Escape, "who": who, "list": list, "part": part, "mark": func() template.HTML { return brand.Mark },
	}).Parse(pageText))
)

// policyOfPages lets a page load the style sheet, send forms to where it came
// from, and nothing else.
const policyOfPages = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// pages are the handlers of the page, by pattern.
func (c *Console) pages() map[string]http.Handler {
	return map[string]http.Handler{
		"GET " + stylePath:    http.HandlerFunc(c.serveStyle),
		"GET /{$}":            c.browser("page", c.showStatus),
		"GET " + entryPath:    c.browser("page", c.showEntry),
		"POST " + loginPath:   c.browser("login", c.tryLogin),
		"POST " + logoutPath:  c.browser("logout", c.doLogout),
		"GET " + revokePath:   c.browser("page", c.askRevoke),
		"POST " + revokePath:  c.browser("revoke", c.doRevoke),
		"POST " + unblockPath: c.browser("unblock", c.doUnblock),
		"POST " + admitPath:   c.browser("admit", c.doUnblock),
	}
}

func (c *Console) serveStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = c.documents.Write(w, fairshare.Address(r.RemoteAddr), int64(len(style)), func() error {
		_, err := w.Write(style)
		return err
	}) // the browser has gone
}

// browser serves a path to browsers: a form of another page is refused, and
// errors are pages.
func (c *Console) browser(name string, handle func(request) error) http.Handler {
	return c.readable(c.csrf.Handler(c.Server.Handle(name, func(w http.ResponseWriter, r *http.Request, id string) error {
		h := w.Header()
		h.Set("Content-Security-Policy", policyOfPages)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if r.Method == http.MethodPost && !sameOrigin(r) {
			return &broker.Refusal{Status: http.StatusForbidden, Reason: broker.ReasonRequest, Detail: "the browser does not say that this form is of this page"}
		}
		return handle(request{Request: r, w: w, id: id})
	})))
}

// operator finds out who looks: who is logged in, or who proves it with the
// request.
func (c *Console) operator(r *request) error {
	who, ok, err := c.open(r.Request)
	if err != nil {
		return err
	}
	if ok {
		r.who = who
		return nil
	}
	r.who, err = c.Server.Policy().Operator(r.Context(), r.Request)
	return err
}

// sameOrigin reports whether a browser says that the request is of this page.
// The cross-origin protection lets requests through that say nothing, which a
// client without cookies may; here nobody may.
func sameOrigin(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "same-origin" || r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") != ""
}

// changing reads a form that changes something, and finds out whose it is.
func (c *Console) changing(r *request) error {
	if err := c.operator(r); err != nil {
		return c.stranger(r.Request, r.id, err)
	}
	r.Body = http.MaxBytesReader(r.w, r.Body, maxTarget)
	if r.ParseForm() != nil {
		return broker.BadRequest("the form cannot be read")
	}
	return nil
}

// maxLogin bounds the form with a token, in bytes.
const maxLogin = 32 << 10

// tryLogin answers the login form: the token is shown to the rules as a client
// would.
func (c *Console) tryLogin(r request) error {
	address := fairshare.Address(r.RemoteAddr)
	if c.logins.Over(address) != nil {
		r.w.Header().Set("Retry-After", strconv.Itoa(int(attemptWindow/time.Second)))
		return c.showLogin(r, http.StatusTooManyRequests, "Too many attempts. Wait a minute, then try again.")
	}
	if err := c.readLogin(r); err != nil {
		return err
	}
	shown := r.Clone(r.Context())
	shown.Header.Set("Authorization", "Bearer "+r.PostForm.Get("token"))
	who, err := c.Server.Policy().Operator(r.Context(), shown)
	e := broker.Entry{
		Time: c.Revoker.Now().UTC(), Kind: broker.KindLogin, RequestID: r.id, Method: who.Method, Subject: who.Subject, Rule: who.Name,
		Policy: c.Server.Policy().Hash, Remote: r.RemoteAddr, Decision: broker.Granted,
	}
	if err != nil {
		refused := broker.RefusalOf(err)
		e.Decision, e.Reason, e.Detail = broker.Refused, refused.Reason, refused.Detail
		_ = c.logins.Count(address) // it refuses the next one
		if tooMany := c.Server.ChargeUnauth(r.Request); tooMany != nil {
			return tooMany
		}
	}
	if writeErr := c.Server.Journal.Write(r.Context(), e, false); writeErr != nil {
		return broker.AuditUnavailable(errors.Join(err, writeErr))
	}
	if err != nil {
		return c.showLogin(r, http.StatusForbidden, "This token is not an operator's.")
	}
	if err := c.login(r.w, r.Request, who); err != nil {
		return err
	}
	return seeOther(r, PagePath)
}

func (c *Console) readLogin(r request) error {
	r.Body = http.MaxBytesReader(r.w, r.Body, maxLogin)
	return c.forms.Read(r.w, fairshare.Address(r.RemoteAddr), maxLogin, func() error {
		if r.ParseForm() != nil {
			return broker.BadRequest("the form cannot be read")
		}
		return nil
	})
}

func (c *Console) doLogout(r request) error {
	if err := c.logout(r.w, r.Request); err != nil {
		return err
	}
	return seeOther(r, PagePath)
}

func seeOther(r request, path string) error {
	http.Redirect(r.w, r.Request, path, http.StatusSeeOther)
	return nil
}

// view is what the template shows: one of its parts.
type view struct {
	Title   string
	Login   *loginView
	Status  *statusView
	Ask     *askView
	Entry   *entryView
	Problem *api.Problem
	Who     string
}

type loginView struct{ Wrong string }

type askView struct {
	Kind, Name string // of the target; as the form has them
	What       string
	Tokens     int
	// Others share tokens with the target, and lose them, too; More are not shown.
	Others []string
	More   int
	// Unknown says that others could not be looked for.
	Unknown bool
}

// maxOthers is how many workspaces the question names.
const maxOthers = 200

// show writes a page, whole.
func (c *Console) show(r request, status int, v view) error {
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, v); err != nil {
		return err
	}
	r.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	r.w.WriteHeader(status)
	_, _ = r.w.Write(page.Bytes()) // the browser has gone
	return nil
}

func (c *Console) showLogin(r request, status int, wrong string) error {
	return c.show(r, status, view{Title: "Sign in", Login: &loginView{wrong}})
}

// notIn shows the login to whoever proves nothing.
func (c *Console) notIn(r request, err error) error {
	if broker.RefusalOf(err).Status != http.StatusUnauthorized {
		return c.stranger(r.Request, r.id, err)
	}
	return c.showLogin(r, http.StatusUnauthorized, "")
}

// askRevoke asks before everything is taken from a target.
func (c *Console) askRevoke(r request) error {
	if err := c.operator(&r); err != nil {
		return c.notIn(r, err)
	}
	t, err := formTarget(r.URL.Query().Get)
	if err != nil {
		return err
	}
	ask := &askView{Kind: kindOf(t), Name: t.Workspace + t.Owner, What: t.String(), Tokens: c.countOf(r, t)}
	c.askOthers(r, t, ask)
	return c.show(r, http.StatusOK, view{Title: "Revoke " + t.String(), Who: r.who.Name, Ask: ask})
}

// askOthers names the workspaces that share a token with the target.
func (c *Console) askOthers(r request, t broker.Target, ask *askView) {
	if t.Workspace == "" {
		return
	}
	found, err := c.Revoker.List(r.Context())
	if err != nil {
		c.Server.Log.ErrorContext(r.Context(), "find who shares a token", "error", err)
		ask.Unknown = true
		return
	}
	ask.Others = found.Sharers(t.Workspace)
	ask.More = max(0, len(ask.Others)-maxOthers)
	ask.Others = ask.Others[:len(ask.Others)-ask.More]
}

// countOf is how many tokens a workspace has, and less than 0 where that is not
// known.
func (c *Console) countOf(r request, t broker.Target) int {
	if t.Workspace == "" {
		return -1
	}
	names, err := c.Revoker.Of(r.Context(), t.Workspace)
	if err != nil {
		return -1
	}
	blocks, err := c.Revoker.Blocklist.All(r.Context())
	if err != nil {
		return -1
	}
	w, err := c.state(r.Context(), t.Workspace, names, blocks)
	if err != nil || len(names) == 0 && !w.Blocked {
		return -1
	}
	return len(w.Tokens)
}

func kindOf(t broker.Target) string {
	switch {
	case t.App:
		return "app"
	case t.Owner != "":
		return "owner"
	}
	return "workspace"
}

func formTarget(get func(string) string) (broker.Target, error) {
	var t broker.Target
	switch name := get("name"); get("kind") {
	case "app":
		t.App = true
	case "owner":
		t.Owner = name
	default:
		t.Workspace = name
	}
	if err := t.Check(); err != nil {
		return t, broker.BadRequest(usererr.Escape(err.Error()))
	}
	return t, nil
}

func (c *Console) doRevoke(r request) error {
	if err := c.changing(&r); err != nil {
		return err
	}
	t, err := formTarget(r.PostForm.Get)
	if err != nil {
		return err
	}
	done, err := c.Revoker.Revoke(r.Context(), r.actor(), t)
	if err != nil {
		return err
	}
	others := len(slices.DeleteFunc(done.Workspaces, func(id string) bool { return id == t.Workspace }))
	return seeOther(r, fmt.Sprintf("%s?revoked=%d&pending=%d&others=%d", PagePath, len(done.Revoked), done.Pending, others))
}

func (c *Console) doUnblock(r request) error {
	if err := c.changing(&r); err != nil {
		return err
	}
	t, err := formTarget(r.PostForm.Get)
	if err != nil {
		return err
	}
	if err := c.Revoker.Lift(r.Context(), r.actor(), t); err != nil {
		return err
	}
	return seeOther(r, PagePath+"?unblocked")
}

// left is a time span for people: "42 min".
func left(d time.Duration) string {
	if d < time.Minute {
		return "under 1 min"
	}
	return fmt.Sprintf("%d min", int(d/time.Minute))
}

// clock is a moment for people, UTC.
func clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// clockSince is a moment beside a later one: without the day where that is the same.
func clockSince(t, later time.Time) string {
	if t.UTC().Format(time.DateOnly) == later.UTC().Format(time.DateOnly) {
		return t.UTC().Format(time.TimeOnly)
	}
	return clock(t)
}

// short is the beginning of a hash.
func short(hash string) string { return hash[:min(12, len(hash))] }

// pair is a target as a form has it.
func pair(kind, name string) askView { return askView{Kind: kind, Name: name} }

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

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/internal/brand"
	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/internal/usererr"
)

// The paths of the page. People need to know only PagePath.
const (
	PagePath    = "/"
	stylePath   = "/console/style.css"
	loginPath   = "/console/login"
	logoutPath  = "/console/logout"
	revokePath  = "/console/revoke"
	unblockPath = "/console/unblock"
	admitPath   = "/console/admit" // for pages that an earlier version wrote
	entryPath   = "/console/entry"
)

var (
	//go:embed style.css
	ownStyle string
	style    = []byte(brand.Palette + ownStyle)
	//go:embed page.html
	pageText string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"left": left, "clock": clock, "since": clockSince, "short": short, "pair": pair, "plain": usererr.Escape, "word": audit.Word, "who": subjectOf, "list": list, "part": part, "mark": func() template.HTML { return brand.Mark },
	}).Parse(pageText))
)

// policyOfPages lets a page load its style sheet and send forms to its own origin, and
// nothing else.
const policyOfPages = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// webPages serves the operators' pages.
type webPages struct{ *Console }

// routes returns the handlers of the page, by pattern.
func (p webPages) routes() map[string]http.Handler {
	return map[string]http.Handler{
		"GET " + stylePath:    http.HandlerFunc(p.serveStyle),
		"GET /{$}":            p.browser("page", p.showStatus),
		"GET " + entryPath:    p.browser("page", p.showEntry),
		"POST " + loginPath:   p.browser("login", p.tryLogin),
		"POST " + logoutPath:  p.browser("logout", p.doLogout),
		"GET " + revokePath:   p.browser("page", p.askRevoke),
		"POST " + revokePath:  p.browser("revoke", p.doRevoke),
		"POST " + unblockPath: p.browser("unblock", p.doUnblock),
		"POST " + admitPath:   p.browser("admit", p.doUnblock),
	}
}

func (p webPages) serveStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = p.documents.Write(w, fairshare.Address(r.RemoteAddr), int64(len(style)), func() error {
		_, err := w.Write(style)
		return err
	}) // fails only if the browser has gone
}

// browser serves a path to browsers. It refuses forms of other pages, and shows errors
// as pages.
func (p webPages) browser(name string, handle func(request) error) http.Handler {
	return p.problemPages(p.csrf.Handler(p.Server.Handle(name, func(w http.ResponseWriter, r *http.Request, id string) error {
		h := w.Header()
		h.Set("Content-Security-Policy", policyOfPages)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if r.Method == http.MethodPost && !sameOrigin(r) {
			return &broker.Refusal{Status: http.StatusForbidden, Reason: broker.ReasonRequest, Detail: "the browser does not say that this form comes from this page"}
		}
		return handle(request{Request: r, w: w, id: id})
	})))
}

// operator identifies the operator, by the login or by a proof in the request.
func (p webPages) operator(r *request) error {
	who, ok, err := p.open(r.Request)
	if err != nil {
		return err
	}
	if ok {
		r.who = who
		return nil
	}
	r.who, err = p.Server.Policy().Operator(r.Context(), r.Request)
	return err
}

// sameOrigin reports whether the browser says that the request comes from this page.
// The cross-origin protection also allows requests that say nothing, which may come
// from clients without cookies; sameOrigin does not.
func sameOrigin(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "same-origin" || r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") != ""
}

// readForm identifies the operator and reads the form of a request that changes
// something.
func (p webPages) readForm(r *request) error {
	if err := p.operator(r); err != nil {
		return p.refuseUnauth(r.Request, r.id, err)
	}
	r.Body = http.MaxBytesReader(r.w, r.Body, maxTarget)
	if r.ParseForm() != nil {
		return broker.BadRequest("the form is malformed")
	}
	return nil
}

// maxLogin is the maximum size of the login form, in bytes.
const maxLogin = 32 << 10

// tryLogin answers the login form. It checks the form's token as if a client had sent
// it as a bearer token.
func (p webPages) tryLogin(r request) error {
	address := fairshare.Address(r.RemoteAddr)
	if p.logins.Over(address) != nil {
		r.w.Header().Set("Retry-After", strconv.Itoa(int(attemptWindow/time.Second)))
		return p.showLogin(r, http.StatusTooManyRequests, "Too many attempts. Wait a minute, then try again.")
	}
	if err := p.readLogin(r); err != nil {
		return err
	}
	shown := r.Clone(r.Context())
	shown.Header.Set("Authorization", "Bearer "+r.PostForm.Get("token"))
	who, err := p.Server.Policy().Operator(r.Context(), shown)
	e := broker.Entry{
		Time: p.Revoker.Now().UTC(), Kind: broker.KindLogin, RequestID: r.id, Method: who.Method, Subject: who.Subject, Rule: who.Name,
		Policy: p.Server.Policy().Hash, Remote: r.RemoteAddr, Decision: broker.Granted,
	}
	if err != nil {
		refused := broker.RefusalOf(err)
		e.Decision, e.Reason, e.Detail = broker.Refused, refused.Reason, refused.Detail
		_ = p.logins.Count(address) // counted for the next attempt
		if tooMany := p.Server.ChargeUnauth(r.Request); tooMany != nil {
			return tooMany
		}
	}
	if writeErr := p.Server.Journal.Write(r.Context(), e, false); writeErr != nil {
		return broker.AuditUnavailable(errors.Join(err, writeErr))
	}
	if err != nil {
		return p.showLogin(r, http.StatusForbidden, "This token is not an operator's.")
	}
	if err := p.login(r.w, r.Request, who); err != nil {
		return err
	}
	return seeOther(r, PagePath)
}

func (p webPages) readLogin(r request) error {
	r.Body = http.MaxBytesReader(r.w, r.Body, maxLogin)
	return p.forms.Read(r.w, fairshare.Address(r.RemoteAddr), maxLogin, func() error {
		if r.ParseForm() != nil {
			return broker.BadRequest("the form is malformed")
		}
		return nil
	})
}

func (p webPages) doLogout(r request) error {
	if err := p.logout(r.w, r.Request); err != nil {
		return err
	}
	return seeOther(r, PagePath)
}

func seeOther(r request, path string) error {
	http.Redirect(r.w, r.Request, path, http.StatusSeeOther)
	return nil
}

// view is the template's data. It has exactly one part.
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
	Kind, Name string // the target, as in the form
	What       string
	Tokens     int
	// Others share tokens with the target, and lose them, too; More counts those not
	// shown.
	Others []string
	More   int
	// Unknown means that the search for others failed.
	Unknown bool
}

// maxOthers is how many workspaces the confirmation names.
const maxOthers = 200

// show renders a page and writes it at once.
func (p webPages) show(r request, status int, v view) error {
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, v); err != nil {
		return err
	}
	r.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	r.w.WriteHeader(status)
	_, _ = r.w.Write(page.Bytes()) // fails only if the browser has gone
	return nil
}

func (p webPages) showLogin(r request, status int, wrong string) error {
	return p.show(r, status, view{Title: "Sign in", Login: &loginView{wrong}})
}

// loginOr shows the login form to callers without a proof of identity.
func (p webPages) loginOr(r request, err error) error {
	if broker.RefusalOf(err).Status != http.StatusUnauthorized {
		return p.refuseUnauth(r.Request, r.id, err)
	}
	return p.showLogin(r, http.StatusUnauthorized, "")
}

// askRevoke asks for confirmation before a target is revoked.
func (p webPages) askRevoke(r request) error {
	if err := p.operator(&r); err != nil {
		return p.loginOr(r, err)
	}
	t, err := formTarget(r.URL.Query().Get)
	if err != nil {
		return err
	}
	ask := &askView{Kind: kindOf(t), Name: t.Workspace + t.Owner, What: t.String(), Tokens: p.countOf(r, t)}
	p.askOthers(r, t, ask)
	return p.show(r, http.StatusOK, view{Title: "Revoke " + t.String(), Who: r.who.Name, Ask: ask})
}

// askOthers adds the workspaces that share a token with the target.
func (p webPages) askOthers(r request, t blocklist.Target, ask *askView) {
	if t.Workspace == "" {
		return
	}
	found, err := p.Revoker.List(r.Context())
	if err != nil {
		p.Server.Log.ErrorContext(r.Context(), "find the workspaces that share a token", "error", err)
		ask.Unknown = true
		return
	}
	ask.Others = found.Sharers(t.Workspace)
	ask.More = max(0, len(ask.Others)-maxOthers)
	ask.Others = ask.Others[:len(ask.Others)-ask.More]
}

// countOf returns how many tokens a workspace has; less than 0 means unknown.
func (p webPages) countOf(r request, t blocklist.Target) int {
	if t.Workspace == "" {
		return -1
	}
	names, err := p.Revoker.ListOf(r.Context(), t.Workspace)
	if err != nil {
		return -1
	}
	blocks, err := p.Revoker.Blocklist.All(r.Context())
	if err != nil {
		return -1
	}
	w, err := p.state(r.Context(), t.Workspace, names, blocks)
	if err != nil || len(names) == 0 && !w.Blocked {
		return -1
	}
	return len(w.Tokens)
}

func kindOf(t blocklist.Target) string {
	switch {
	case t.App:
		return "app"
	case t.Owner != "":
		return "owner"
	}
	return "workspace"
}

func formTarget(get func(string) string) (blocklist.Target, error) {
	var t blocklist.Target
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

func (p webPages) doRevoke(r request) error {
	if err := p.readForm(&r); err != nil {
		return err
	}
	t, err := formTarget(r.PostForm.Get)
	if err != nil {
		return err
	}
	done, err := p.Revoker.Revoke(r.Context(), r.actor(), t)
	if err != nil {
		return err
	}
	key, hit := "workspaces", done.Workspaces
	if t.Workspace != "" {
		key, hit = "others", slices.DeleteFunc(hit, func(id string) bool { return id == t.Workspace })
	}
	return seeOther(r, fmt.Sprintf("%s?revoked=%d&pending=%d&%s=%d", PagePath, len(done.Revoked), done.Pending, key, len(hit)))
}

func (p webPages) doUnblock(r request) error {
	if err := p.readForm(&r); err != nil {
		return err
	}
	t, err := formTarget(r.PostForm.Get)
	if err != nil {
		return err
	}
	if err := p.Revoker.Unblock(r.Context(), r.actor(), t); err != nil {
		return err
	}
	return seeOther(r, PagePath+"?unblocked")
}

// left returns a duration for people, such as "42 min".
func left(d time.Duration) string {
	if d < time.Minute {
		return "under 1 min"
	}
	return fmt.Sprintf("%d min", int(d/time.Minute))
}

// clock returns a time for people, in UTC.
func clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// clockSince returns a time next to a later one: without the date if that is the same.
func clockSince(t, later time.Time) string {
	if t.UTC().Format(time.DateOnly) == later.UTC().Format(time.DateOnly) {
		return t.UTC().Format(time.TimeOnly)
	}
	return clock(t)
}

// short returns the beginning of a hash.
func short(hash string) string { return hash[:min(12, len(hash))] }

// pair returns a target as the form has it.
func pair(kind, name string) askView { return askView{Kind: kind, Name: name} }

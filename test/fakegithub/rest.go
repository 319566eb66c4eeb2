package fakegithub

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"strconv"
	"strings"
)

const (
	docsURL       = "https://docs.github.com/rest"
	maxBody       = 1 << 20
	enterpriseAPI = "/api/v3"
	anonymous     = "anonymous"
)

type object = map[string]any

// A refusal is an answer other than success, with GitHub's text.
type refusal struct {
	status  int
	message string
	docs    string // documentation_url; "" means docsURL
	header  http.Header
}

func refuse(status int, message string) *refusal { return &refusal{status: status, message: message} }

// loudly refuses what GitHub would accept but gatepass must not send.
func loudly(message string) *refusal {
	return refuse(http.StatusBadRequest, "fakegithub: "+message)
}

func (no *refusal) answer() answer {
	body := object{"message": no.message, "documentation_url": cmp.Or(no.docs, docsURL), "status": strconv.Itoa(no.status)}
	return answer{status: no.status, body: body, header: no.header}
}

// An answer is the answer of a handler; a nil body is sent as no body.
type answer struct {
	status int
	body   any
	header http.Header
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// A call is one REST request with its caller. At most one of app and token is set; an
// anonymous caller has neither.
type call struct {
	s      *Server
	r      *http.Request
	prefix string // "" or /api/v3
	app    *App
	token  *issued
}

// An audience says who may call an endpoint.
type audience int

const (
	theApp          audience = iota // an App, by its JWT
	anInstallation                  // an installation, by its token
	anyone                          // with or without a token
	freeOfRateLimit                 // anyone, and not counted
)

// routes returns every REST endpoint of this GitHub. A new feature adds its lines here
// and its handlers in a separate file.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	add := func(who audience, pattern string, h func(call) answer) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.answerCall(w, r, who, h) })
	}
	add(theApp, "GET /app", getApp)
	add(anyone, "GET /apps/{slug}", getAppBySlug)
	add(theApp, "GET /app/installations", listInstallations)
	add(theApp, "GET /app/installations/{id}", getInstallation)
	add(theApp, "DELETE /app/installations/{id}", deleteInstallation)
	add(theApp, "PUT /app/installations/{id}/suspended", suspendInstallation)
	add(theApp, "DELETE /app/installations/{id}/suspended", unsuspendInstallation)
	add(theApp, "POST /app/installations/{id}/access_tokens", createToken)
	add(theApp, "GET /orgs/{login}/installation", organizationInstallation)
	add(theApp, "GET /users/{login}/installation", userInstallation)
	add(theApp, "GET /repos/{owner}/{repo}/installation", repositoryInstallation)
	add(theApp, "GET /repositories/{id}/installation", repositoryInstallation)
	add(anInstallation, "DELETE /installation/token", deleteToken)
	add(anInstallation, "GET /installation/repositories", listRepositories)
	add(anyone, "GET /users/{login}", getUser)
	add(anyone, "GET /repos/{owner}/{repo}", getRepository)
	add(anyone, "GET /repositories/{id}", getRepository)
	for _, repository := range []string{"/repos/{owner}/{repo}", "/repositories/{id}"} {
		add(anyone, "GET "+repository+"/contents", getContents)
		add(anyone, "GET "+repository+"/contents/{path...}", getContents)
	}
	add(freeOfRateLimit, "GET /rate_limit", getRateLimit)
	add(anyone, "POST /app-manifests/{code}/conversions", convertManifest)
	for _, settings := range []string{"/settings/apps", "/organizations/{org}/settings/apps"} {
		add(freeOfRateLimit, "GET "+settings+"/new", newAppForm)
		add(freeOfRateLimit, "POST "+settings+"/new", newAppFromManifest)
		add(freeOfRateLimit, "POST "+settings, createApp)
	}
	add(freeOfRateLimit, "GET /login", loginPage)
	add(anyone, "/", func(call) answer { return refuse(http.StatusNotFound, "Not Found").answer() })
	return mux
}

// prefixHeader carries the prefix through http.ServeMux to the handler. If a client
// sends it, it is dropped.
const prefixHeader = "Fakegithub-Prefix"

// serveREST removes the Enterprise prefix, and prevents http.ServeMux from redirecting
// unclean paths, which GitHub does not do.
func (s *Server) serveREST(w http.ResponseWriter, r *http.Request) {
	r2 := r.Clone(r.Context())
	if rest, ok := strings.CutPrefix(r.URL.Path, enterpriseAPI); ok && (rest == "" || rest[0] == '/') {
		r2.URL.Path, r2.URL.RawPath = cmp.Or(rest, "/"), strings.TrimPrefix(r.URL.RawPath, enterpriseAPI)
		r2.Header.Set(prefixHeader, enterpriseAPI)
	} else {
		r2.Header.Del(prefixHeader)
	}
	if p := r2.URL.Path; p == "" || path.Clean(p) != strings.TrimSuffix(p, slashAfter(p)) {
		s.write(w, refuse(http.StatusNotFound, "Not Found").answer())
		return
	}
	s.mux.ServeHTTP(w, r2)
}

// slashAfter returns the slash at the end of a path if it has a meaning there.
func slashAfter(path string) string {
	if path != "/" && strings.Contains(path, "/git/matching-refs/") {
		return "/"
	}
	return ""
}

// answerCall does what all endpoints share: headers, identity, rate limit. It holds
// s.mu the whole time, so a handler sees and changes one consistent state.
func (s *Server) answerCall(w http.ResponseWriter, r *http.Request, who audience, h func(call) answer) {
	c := call{s: s, r: r, prefix: r.Header.Get(prefixHeader)}
	if err := c.readBody(); err != nil {
		s.write(w, tooLarge.answer())
		return
	}
	s.mu.Lock()
	a := c.run(w.Header(), who, h)
	s.mu.Unlock()
	s.write(w, c.conditional(w.Header(), a))
}

var tooLarge = refuse(http.StatusRequestEntityTooLarge, "Payload too large")

func (c *call) run(header http.Header, who audience, h func(call) answer) answer {
	if no := c.admit(header, who); no != nil {
		return no.answer()
	}
	return h(*c)
}

// admit identifies the caller and counts the request, or refuses it. The caller must
// hold s.mu.
func (c *call) admit(header http.Header, who audience) *refusal {
	if no := checkHeaders(c.r.Header); no != nil {
		return no
	}
	if no := c.identify(who); no != nil {
		return no
	}
	principal := c.principal()
	w := c.window()
	defer func() { w.writeTo(header) }()
	if who != freeOfRateLimit {
		no := w.spend(principal)
		if no == nil {
			no = c.spendPoints(principal)
		}
		if no != nil {
			c.s.state.counts.RateLimited++
			return no
		}
	}
	return nil
}

// readBody reads the body before the lock is taken, so that a slow client does not
// block others.
func (c *call) readBody() error {
	raw, err := io.ReadAll(http.MaxBytesReader(nil, c.r.Body, maxBody))
	c.r.Body = io.NopCloser(bytes.NewReader(raw))
	return err
}

// checkHeaders checks the headers that api.github.com requires of every request.
func checkHeaders(h http.Header) *refusal {
	if h.Get("User-Agent") == "" {
		return refuse(http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.")
	}
	switch v := h.Get("X-GitHub-Api-Version"); v {
	case "", "2022-11-28", "2026-03-10":
		return nil
	default:
		return refuse(http.StatusBadRequest, fmt.Sprintf("The X-GitHub-Api-Version header value %q is not supported.", v))
	}
}

// identify fills in the caller, or refuses the request.
func (c *call) identify(who audience) *refusal {
	cred := credentialOf(c.r)
	if who == theApp {
		var no *refusal
		if cred.scheme != "bearer" {
			return refuse(http.StatusUnauthorized, msgUndecodable)
		}
		c.app, no = c.s.verifyJWT(cred.secret)
		return no
	}
	if cred.scheme == "" && who != anInstallation {
		return nil
	}
	if cred.scheme == "" {
		return refuse(http.StatusUnauthorized, "Requires authentication")
	}
	if c.token = c.s.token(cred.secret); c.token == nil {
		return refuse(http.StatusUnauthorized, msgBadCredentials)
	}
	if no := c.unknownYet(); no != nil {
		return no
	}
	if !c.token.installation.suspended.IsZero() {
		return refuse(http.StatusForbidden, msgSuspended)
	}
	return nil
}

func (c *call) principal() string {
	switch {
	case c.app != nil:
		return fmt.Sprintf("app ID %d", c.app.ID)
	case c.token != nil:
		return fmt.Sprintf("installation ID %d", c.token.installation.id)
	}
	return anonymous
}

// id returns the path's {id}. GitHub answers 404 for a text that is not a number.
func (c call) id() int64 {
	n, err := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// decode reads a JSON body strictly. An empty body leaves into as it is.
func (c call) decode(into any) *refusal {
	raw, _ := io.ReadAll(c.r.Body) // in memory since readBody
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil
	}
	if string(raw) == "null" {
		return badBody(errNull)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		_, err = d.Token()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return badBody(err)
}

func badBody(err error) *refusal {
	if _, mistyped := errors.AsType[*json.UnmarshalTypeError](err); mistyped || errors.Is(err, errNull) {
		return refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n"+err.Error())
	}
	if err != nil && strings.HasPrefix(err.Error(), "json: unknown field") {
		return loudly(err.Error())
	}
	return refuse(http.StatusBadRequest, "Problems parsing JSON")
}

// write sends a whole answer, with the headers that every answer of GitHub has.
func (s *Server) write(w http.ResponseWriter, a answer) {
	h := w.Header()
	maps.Copy(h, a.header)
	s.commonHeaders(h)
	var body bytes.Buffer
	if page, is := a.body.(webPage); is {
		h.Set("Content-Type", "text/html; charset=utf-8")
		body.Write(page)
	} else if text, is := a.body.(Text); is {
		h.Set("Content-Type", text.Type)
		body.Write(text.Text)
	} else if a.body != nil {
		h.Set("Content-Type", "application/json; charset=utf-8")
		if err := json.NewEncoder(&body).Encode(a.body); err != nil {
			a.status = http.StatusInternalServerError
		}
		h.Set("Content-Length", strconv.Itoa(body.Len()))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body.Bytes())
}

func (s *Server) commonHeaders(h http.Header) {
	h.Set("Date", s.Now().Format(http.TimeFormat))
	h.Set("Server", "github.com")
	h.Set("X-GitHub-Request-Id", strings.ToUpper(randomBase62(24)))
}

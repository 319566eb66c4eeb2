package fakegithub

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// minState is the shortest length of a state that cannot be guessed.
const minState = 16

// signedIn is the user of the browser. There is at most one.
type signedIn struct {
	account *account
	owns    map[string]bool // organizations, by login in lower case
}

// SignIn sets the user who opens pages of this GitHub in a browser, and the
// organizations that the user owns. With an empty login no user is signed in.
func (s *Server) SignIn(login string, organizations ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.browser = nil
	if login == "" {
		return nil
	}
	user, err := s.state.account(login, User)
	if err != nil {
		return err
	}
	session := &signedIn{account: user, owns: map[string]bool{}}
	for _, name := range organizations {
		org, err := s.state.account(name, Organization)
		if err != nil {
			return err
		}
		session.owns[fold(org.login)] = true
	}
	s.state.browser = session
	return nil
}

// A pendingApp waits for a click on "Create GitHub App".
type pendingApp struct {
	manifest appManifest
	state    string
	owner    *account
}

// settingsOwner returns the owner of the App to be registered at the path, or the
// answer for a user who may not register one there.
func (c call) settingsOwner() (*account, *answer) {
	browser := c.s.state.browser
	if browser == nil {
		to := redirect(c.html("/login?return_to=%s", url.QueryEscape(c.html("%s", c.r.URL.Path))))
		return nil, &to
	}
	org := c.r.PathValue("org")
	if org == "" {
		return browser.account, nil
	}
	if acc := c.s.state.accounts[fold(org)]; acc != nil && browser.owns[fold(org)] {
		return acc, nil
	}
	no := showPage(http.StatusNotFound, "Page not found", nil)
	return nil, &no
}

func loginPage(call) answer { return showPage(http.StatusOK, "Sign in to GitHub", nil) }

// newAppForm answers with the form for registering an App by hand. That is all that is
// left of a manifest if the user had to sign in first.
func newAppForm(c call) answer {
	if _, no := c.settingsOwner(); no != nil {
		return *no
	}
	return showPage(http.StatusOK, "Register new GitHub App", nil)
}

// newAppFromManifest asks the user to confirm the App of a manifest.
func newAppFromManifest(c call) answer {
	owner, no := c.settingsOwner()
	if no != nil {
		return *no
	}
	form, problem := c.form("manifest")
	if problem != "" {
		return showPage(http.StatusBadRequest, problem, nil)
	}
	state := c.r.URL.Query()["state"]
	if len(state) != 1 || len(state[0]) < minState {
		return showPage(http.StatusBadRequest, "fakegithub: the query needs a state that cannot be guessed", nil)
	}
	m, problem := parseManifest(form.Get("manifest"))
	if problem != "" {
		return showPage(http.StatusUnprocessableEntity, "Invalid GitHub App configuration. "+problem, nil)
	}
	token := randomBase62(40)
	c.s.state.pending[token] = &pendingApp{manifest: m, state: state[0], owner: owner}
	return confirmPage(c, http.StatusOK, token, m.Name, "")
}

func confirmPage(c call, status int, token, name, problem string) answer {
	p := c.s.state.pending[token]
	return showPage(status, "Create GitHub App for "+p.owner.login, &confirmation{
		Action: strings.TrimSuffix(c.r.URL.Path, "/new"), Token: token, Name: name, Problem: problem, Owner: p.owner.login,
	})
}

// createApp handles the click on the button.
func createApp(c call) answer {
	owner, no := c.settingsOwner()
	if no != nil {
		return *no
	}
	form, problem := c.form("authenticity_token", "name")
	token := form.Get("authenticity_token")
	p := c.s.state.pending[token]
	if problem != "" || p == nil || p.owner != owner {
		return showPage(http.StatusUnprocessableEntity, "Your browser did something unexpected. "+problem, nil)
	}
	name := form.Get("name")
	if problem = checkAppName(name); problem == "" && c.s.state.nameTaken(name, owner) {
		problem = "Name has already been taken"
	}
	if problem != "" {
		return confirmPage(c, http.StatusUnprocessableEntity, token, name, problem)
	}
	delete(c.s.state.pending, token)
	code, err := c.s.makeApp(p, name)
	if err != nil {
		return showPage(http.StatusInternalServerError, err.Error(), nil)
	}
	to, _ := url.Parse(p.manifest.RedirectURL) // checked with the manifest
	query := to.Query()
	query.Set("code", code)
	query.Set("state", p.state)
	to.RawQuery = query.Encode()
	return redirect(to.String())
}

// nameTaken reports whether an App has the name, or an account other than the owner.
func (st *state) nameTaken(name string, owner *account) bool {
	slug := appSlug(name)
	for _, app := range st.apps {
		if app.Slug == slug || strings.EqualFold(app.Name, name) {
			return true
		}
	}
	acc := st.accounts[slug]
	return acc != nil && acc != owner
}

// MakeApp does in one step what otherwise takes a browser: owner registers the App of a
// manifest. It returns the code.
func (s *Server) MakeApp(owner, manifest string) (code string, err error) {
	m, problem := parseManifest(manifest)
	if problem == "" {
		problem = checkAppName(m.Name)
	}
	if problem != "" {
		return "", errors.New(problem)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	account, err := s.state.account(owner, "")
	if err != nil {
		return "", err
	}
	return s.makeApp(&pendingApp{manifest: m, owner: account}, m.Name)
}

// A conversion is what a code can be exchanged for.
type conversion struct {
	app     *App
	pem     []byte
	created time.Time
}

func (s *Server) makeApp(p *pendingApp, name string) (code string, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	app := &App{
		Slug: appSlug(name), Name: name, Owner: p.owner.login, Public: *p.manifest.Public,
		Description: p.manifest.Description, Homepage: p.manifest.URL,
		Permissions: p.manifest.Permissions.withMetadata(), Keys: []*rsa.PublicKey{&key.PublicKey},
	}
	s.state.completeApp(app)
	s.state.apps[app.ID] = app
	random := make([]byte, 20)
	_, _ = rand.Read(random) // never fails
	code = hex.EncodeToString(random)
	s.state.conversions[code] = &conversion{
		app: app, created: s.Now(),
		pem: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
	return code, nil
}

// form parses a body that has each of the fields once and no others.
func (c call) form(fields ...string) (form url.Values, problem string) {
	if err := c.r.ParseForm(); err != nil || len(c.r.PostForm) != len(fields) {
		return url.Values{}, "fakegithub: want a form with " + strings.Join(fields, " and ")
	}
	for _, f := range fields {
		if len(c.r.PostForm[f]) != 1 {
			return url.Values{}, "fakegithub: want a form with one " + f
		}
	}
	return c.r.PostForm, ""
}

func redirect(to string) answer {
	return answer{status: http.StatusFound, header: http.Header{"Location": {to}}}
}

// A webPage is a body for people.
type webPage []byte

// A confirmation is GitHub's question before it registers an App.
type confirmation struct{ Action, Token, Name, Problem, Owner string }

var pageTemplate = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title></head><body><h1>{{.Title}}</h1>
{{with .Confirm}}<form method="post" action="{{.Action}}">
<input type="hidden" name="authenticity_token" value="{{.Token}}">
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
<p><label for="name">GitHub App name</label> <input id="name" name="name" value="{{.Name}}"></p>
<p><button id="create">Create GitHub App for {{.Owner}}</button></p>
</form>{{end}}</body></html>
`))

func showPage(status int, title string, confirm *confirmation) answer {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, map[string]any{"Title": title, "Confirm": confirm})
	if err != nil {
		return answer{status: http.StatusInternalServerError}
	}
	return answer{status: status, body: webPage(b.Bytes())}
}

// A clock is the real clock, or the caller's, moved by Advance.
type clock struct {
	base   func() time.Time // nil means time.Now
	offset atomic.Int64     // nanoseconds
}

func (c *clock) now() time.Time {
	base := time.Now
	if c.base != nil {
		base = c.base
	}
	return base().Add(time.Duration(c.offset.Load())).UTC()
}

// Now returns this GitHub's time.
func (s *Server) Now() time.Time { return s.clock.now() }

// Advance moves this GitHub's clock by d, which may be negative. It applies to tokens
// and JWTs, but not to certificates.
func (s *Server) Advance(d time.Duration) { s.clock.offset.Add(int64(d)) }

// timestamp formats a time as in GitHub's JSON.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// serveResident answers like a host with data residency: git at https://SUB.ghe.com,
// and the API at https://api.SUB.ghe.com, with the paths of api.github.com.
func (s *Server) serveResident(w http.ResponseWriter, r *http.Request) {
	git, isGit := parseGitPath(r.URL.EscapedPath())
	lfs, isLFS := parseLFSPath(r.URL.EscapedPath())
	isWeb, isAPI := r.Host == s.opts.Residency, r.Host == "api."+s.opts.Residency
	switch {
	case isWeb && isLFS:
		s.serveLFS(w, r, lfs)
	case isWeb && isGit:
		s.serveGit(w, r, git)
	case isAPI && !isLFS && !isGit && !strings.HasPrefix(r.URL.Path, "/api/"):
		s.serveREST(w, r)
	default:
		http.NotFound(w, r)
	}
}

// webHost returns the host of the pages that belong to an API.
func (s *Server) webHost(host string) string {
	if s.opts.Residency == "" {
		return host
	}
	return strings.TrimPrefix(host, "api.")
}

// names returns the names for the certificate.
func (s *Server) names() []string {
	if s.opts.Residency == "" {
		return s.opts.Names
	}
	return append([]string{s.opts.Residency, "api." + s.opts.Residency}, s.opts.Names...)
}

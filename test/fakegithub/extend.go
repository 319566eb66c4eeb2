package fakegithub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// An Answer is the answer of an endpoint in another package. A Body is sent as JSON,
// [Text] as it is, and nil as no body.
type Answer struct {
	Status int
	Body   any
	Header http.Header
}

// A Text is the body of an answer that is not JSON.
type Text struct {
	Type string // content type
	Text []byte
}

// A Call is a request to an endpoint in another package, with its caller and the
// caller's permissions. Unlike for the double's own endpoints, the Server's lock is not
// held, so the endpoint may call the Server's methods; each of these sees a consistent
// state.
type Call struct {
	*http.Request
	c call
}

// Handle adds an endpoint. The pattern is one of [http.ServeMux], without /api/v3. The
// double checks what all endpoints share (headers, the token, the rate limits) before
// it calls h. Handle panics if another endpoint has the pattern.
func (s *Server) Handle(pattern string, h func(Call) Answer) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := call{s: s, r: r, prefix: r.Header.Get(prefixHeader)}
		if err := c.readBody(); err != nil {
			s.write(w, tooLarge.answer())
			return
		}
		s.mu.Lock()
		no := c.admit(w.Header(), anyone)
		s.mu.Unlock()
		if no != nil {
			s.write(w, no.answer())
			return
		}
		a := h(Call{r, c})
		s.write(w, c.conditional(w.Header(), answer{a.Status, a.Body, a.Header}))
	})
}

// ServeBeside serves h at another address, as GitHub's storage has another host, with
// the certificate of this GitHub, until Close. It returns the URL. A server without a
// listener serves h at NAME.invalid.
func (s *Server) ServeBeside(name string, h http.Handler) (url string, err error) {
	if s.opts.HandlerOnly {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.beside[name+".invalid"] = h
		return "https://" + name + ".invalid", nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	if !s.enter() {
		return "", errors.Join(errors.New("fakegithub: the server is closed"), l.Close())
	}
	defer s.running.Done()
	s.serve(l, h)
	return "https://" + l.Addr().String(), nil
}

// GitIn runs git in a repository and returns its output, without white space at the
// end. Its error wraps an [exec.ExitError] if git ran and failed.
func (s *Server) GitIn(ctx context.Context, repo Repository, stdin io.Reader, args ...string) (string, error) {
	var out bytes.Buffer
	err := s.runGit(ctx, gitCommand{dir: repo.Dir, args: args, stdin: stdin, stdout: &out})
	return strings.TrimRight(out.String(), "\n"), err
}

// NextID returns an ID that no other object of this GitHub has.
func (s *Server) NextID() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.nextID()
}

// HasAccount reports whether a user, an organization or the bot of an App has the login.
func (s *Server) HasAccount(login string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.hasAccount(login)
}

// Repository finds a repository by name, whatever its case.
func (s *Server) Repository(owner, name string) (Repository, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if repo := s.state.repository(owner, name); repo != nil {
		return *repo, true
	}
	return Repository{}, false
}

// RepositoryByID finds a repository by its ID.
func (s *Server) RepositoryByID(id int64) (Repository, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if repo := s.state.repositories[id]; repo != nil {
		return *repo, true
	}
	return Repository{}, false
}

// Repository returns the repository that the path names by {owner} and {repo}, or by
// {id}. If the caller may not know of it, or it has another name now, Repository
// returns the answer that says so instead.
func (c Call) Repository() (Repository, *Answer) {
	c.c.s.mu.Lock()
	defer c.c.s.mu.Unlock()
	repo, moved := c.c.repository()
	if repo == nil || !c.c.maySee(repo) {
		return Repository{}, c.Refuse(http.StatusNotFound, "Not Found")
	}
	if moved {
		a := c.c.movedTo(repo, c.afterRepository())
		a.status = movedStatus(c.Method)
		return Repository{}, &Answer{a.status, a.body, a.header}
	}
	return *repo, nil
}

// afterRepository returns what follows the repository in the path and query.
func (c Call) afterRepository() string {
	parts := strings.SplitN(c.URL.EscapedPath(), "/", 5) // "", repos, owner, name, the rest
	rest := ""
	if len(parts) == 5 {
		rest = "/" + parts[4]
	}
	if c.URL.RawQuery != "" {
		rest += "?" + c.URL.RawQuery
	}
	return rest
}

// movedStatus returns the status of GitHub's redirect, which preserves the method
// unless it only reads.
func movedStatus(method string) int {
	if method == http.MethodGet || method == http.MethodHead {
		return http.StatusMovedPermanently
	}
	return http.StatusTemporaryRedirect
}

// MaySee reports whether the caller may know that the repository exists.
func (c Call) MaySee(repo Repository) bool {
	c.c.s.mu.Lock()
	defer c.c.s.mu.Unlock()
	return c.c.maySee(&repo)
}

// Allows reports whether the caller has the permission in the repository now. Every
// caller may read a public repository.
func (c Call) Allows(repo Repository, permission, level string) bool {
	c.c.s.mu.Lock()
	defer c.c.s.mu.Unlock()
	if repo.Public && level == "read" {
		return true
	}
	return c.c.token != nil && c.c.token.reaches(&repo) && c.c.token.allows(permission, level)
}

// Repositories returns the repositories that the token reaches, ordered by ID.
func (c Call) Repositories() []Repository {
	c.c.s.mu.Lock()
	defer c.c.s.mu.Unlock()
	if c.c.token == nil {
		return nil
	}
	var out []Repository
	for _, repo := range c.c.reachedBy(c.c.token) {
		out = append(out, *repo)
	}
	return out
}

// Bot returns the login that the token acts as, such as gatepass[bot]; "" without a
// token.
func (c Call) Bot() string {
	if c.c.token == nil {
		return ""
	}
	return c.c.token.installation.app.Slug + "[bot]"
}

// Refuse returns a refusal in the form of GitHub's REST API.
func (c Call) Refuse(status int, message string) *Answer {
	a := refuse(status, message).answer()
	return &Answer{a.status, a.body, a.header}
}

// Decode decodes a JSON body strictly into a pointer, or returns the refusal. An empty
// body leaves the value unchanged.
func (c Call) Decode(into any) *Answer {
	no := c.c.decode(into)
	if no == nil {
		return nil
	}
	a := no.answer()
	return &Answer{a.status, a.body, a.header}
}

// API returns a URL of the REST API, with the address that the caller used.
func (c Call) API(format string, args ...any) string { return c.c.api(format, args...) }

// HTML returns the URL of a page, with the address that the caller used.
func (c Call) HTML(format string, args ...any) string { return c.c.html(format, args...) }

// Enterprise reports whether the path began with /api/v3.
func (c Call) Enterprise() bool { return c.c.prefix == enterpriseAPI }

// ShowRepository returns the repository as the REST API shows it: in full, or as it
// appears in other objects.
func (c Call) ShowRepository(repo Repository, full bool) map[string]any {
	c.c.s.mu.Lock()
	defer c.c.s.mu.Unlock()
	if full {
		return c.c.showFullRepository(&repo)
	}
	return c.c.showRepository(&repo, c.c.token)
}

// ShowUser returns an account as it appears in other objects of the REST API. A login
// that ends in [bot] is an App's; its account is created if necessary.
func (c Call) ShowUser(login string) map[string]any {
	c.c.s.mu.Lock()
	defer c.c.s.mu.Unlock()
	return c.c.showAccount(c.c.s.state.user(login))
}

// Page returns the requested page of items, and the Link header that GitHub sends with
// it.
func Page[T any](c Call, items []T) ([]T, http.Header) {
	c.c.s.mu.Lock()
	defer c.c.s.mu.Unlock()
	return page(c.c, items)
}

// NodeID returns the ID of an object in GitHub's GraphQL API.
func NodeID(kind string, id int64) string { return nodeID(kind, id) }

// A RateLimit says how much of its hourly limit the caller has used.
type RateLimit struct {
	Limit, Used, Remaining int
	Reset                  time.Time
}

// RateLimit returns the caller's rate limit.
func (c Call) RateLimit() RateLimit {
	c.c.s.mu.Lock()
	defer c.c.s.mu.Unlock()
	w := c.c.window()
	return RateLimit{w.limit, min(w.used, w.limit), w.remaining(), w.reset}
}

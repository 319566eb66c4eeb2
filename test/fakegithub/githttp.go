package fakegithub

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
)

// The texts of GitHub's answers to git. git shows them after "remote: ".
const (
	msgBadToken   = "Invalid username or token. Password authentication is not supported for Git operations."
	msgNoSuchRepo = "Repository not found."
	msgNoRead     = "Write access to repository not granted." // also for reading
	msgDumb       = "Please upgrade your git client.\nGitHub.com no longer supports git over dumb-http: https://github.com/blog/809-git-dumb-http-transport-to-be-turned-off-in-90-days"
)

// A gitCall is one parsed smart-HTTP request.
type gitCall struct {
	path     gitPath
	service  string // uploadPack or receivePack
	protocol string // GIT_PROTOCOL; empty for version 0
}

func (g gitCall) writes() bool { return g.service == receivePack }

func (s *Server) serveGit(w http.ResponseWriter, r *http.Request, p gitPath) {
	s.commonHeaders(w.Header())
	g, no := parseGitCall(r, p)
	if no != nil {
		refuseGit(w, r, no)
		return
	}
	dir, no := s.authorizeGit(r, g)
	if no != nil {
		refuseGit(w, r, no)
		return
	}
	noCache(w.Header())
	if p.endpoint == infoRefs {
		s.advertise(w, r, g, dir)
		return
	}
	s.callService(w, r, g, dir)
}

// refuseGit answers in text/plain, the only form that git shows to its user. It reads
// the body first, because a client whose connection is cut while it sends never sees
// the answer.
func refuseGit(w http.ResponseWriter, r *http.Request, no *refusal) {
	_, _ = io.Copy(io.Discard, r.Body)
	maps.Copy(w.Header(), no.header)
	if no.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(no.status)
	_, _ = io.WriteString(w, no.message)
}

func parseGitCall(r *http.Request, p gitPath) (gitCall, *refusal) {
	g := gitCall{path: p, service: p.endpoint}
	if p.endpoint == infoRefs {
		if r.Method != http.MethodGet {
			return g, refuse(http.StatusMethodNotAllowed, "Method not allowed")
		}
		g.service = strings.TrimPrefix(r.URL.RawQuery, "service=")
		if r.URL.RawQuery == "" {
			return g, refuse(http.StatusForbidden, msgDumb)
		}
		if r.URL.RawQuery != "service="+g.service || (g.service != uploadPack && g.service != receivePack) {
			return g, refuse(http.StatusForbidden, "Unsupported service")
		}
	} else if no := checkPost(r, p.endpoint); no != nil {
		return g, no
	}
	var no *refusal
	g.protocol, no = protocolOf(r, g.service)
	return g, no
}

func checkPost(r *http.Request, service string) *refusal {
	switch {
	case r.Method != http.MethodPost:
		return refuse(http.StatusMethodNotAllowed, "Method not allowed")
	case r.URL.RawQuery != "":
		return loudly("a query on a POST")
	case r.Header.Get("Content-Type") != "application/x-"+service+"-request":
		return refuse(http.StatusUnsupportedMediaType, "Unsupported media type")
	}
	return nil
}

// protocolOf reads Git-Protocol. Pushes have no version 2, so for them it counts as
// version 0, as in git receive-pack.
func protocolOf(r *http.Request, service string) (string, *refusal) {
	values := r.Header.Values("Git-Protocol")
	if len(values) == 0 {
		return "", nil
	}
	v := values[0]
	if len(values) > 1 || (v != "version=1" && v != "version=2") {
		return "", loudly("Git-Protocol is not version=1 or version=2")
	}
	if service == receivePack && v == "version=2" {
		return "", nil
	}
	return v, nil
}

// authorizeGit returns the directory to serve, or GitHub's refusal. A caller that may
// not know of a repository gets the answer for a missing one.
func (s *Server) authorizeGit(r *http.Request, g gitCall) (string, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cred := credentialOf(r)
	t := (*issued)(nil)
	if cred.scheme == "basic" || cred.scheme == "bearer" {
		t = s.token(cred.secret)
	}
	if t != nil && s.isUnknownYet(t) {
		t = nil
	}
	if cred.scheme != "" && t == nil {
		return "", refuse(http.StatusUnauthorized, msgBadToken)
	}
	repo, moved := s.gitRepository(g.path)
	if no := g.mayUse(repo, t); no != nil {
		return "", no
	}
	if moved && g.path.endpoint == infoRefs {
		return "", gitMoved(r, g.path, repo)
	}
	return existing(g.path.dir(repo))
}

func (s *Server) gitRepository(p gitPath) (repo *Repository, moved bool) {
	if repo = s.state.repository(p.owner, p.name); repo != nil {
		return repo, false
	}
	return s.state.renamed(p.owner, p.name), true
}

func (g gitCall) mayUse(repo *Repository, t *issued) *refusal {
	switch {
	case repo != nil && repo.Public && !g.writes():
		return nil
	case t == nil:
		return refuse(http.StatusUnauthorized, msgNoSuchRepo)
	case repo == nil, !repo.Public && !t.reaches(repo):
		return refuse(http.StatusNotFound, msgNoSuchRepo)
	case !t.installation.suspended.IsZero():
		return refuse(http.StatusForbidden, msgSuspended)
	case g.writes() && (!t.reaches(repo) || !t.allows("contents", "write")):
		bot := t.installation.app.Slug + "[bot]"
		return refuse(http.StatusForbidden, fmt.Sprintf("Permission to %s denied to %s.", g.path.fullName(), bot))
	case !g.writes() && !t.allows("contents", "read"):
		return refuse(http.StatusForbidden, msgNoRead)
	}
	return nil
}

func (p gitPath) dir(repo *Repository) string {
	if p.wiki {
		return repo.wikiDir()
	}
	return repo.Dir
}

func existing(dir string) (string, *refusal) {
	if _, err := os.Stat(dir); err != nil {
		return "", refuse(http.StatusNotFound, msgNoSuchRepo)
	}
	return dir, nil
}

// gitMoved redirects the first request of a fetch or push. A git that had to
// authenticate first uses the old name also for the second request, which is served.
func gitMoved(r *http.Request, p gitPath, repo *Repository) *refusal {
	name := repo.FullName()
	if p.wiki {
		name += ".wiki"
	}
	url := fmt.Sprintf("https://%s/%s.git/%s", r.Host, name, p.endpoint)
	if r.URL.RawQuery != "" {
		url += "?" + r.URL.RawQuery
	}
	return &refusal{status: http.StatusMovedPermanently, header: http.Header{"Location": {url}}}
}

func noCache(h http.Header) {
	h.Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "Fri, 01 Jan 1980 00:00:00 GMT")
}

// advertise answers info/refs. Version 2 has no "# service" line.
func (s *Server) advertise(w http.ResponseWriter, r *http.Request, g gitCall, dir string) {
	var out bytes.Buffer
	if g.protocol != "version=2" {
		line := "# service=" + g.service + "\n"
		fmt.Fprintf(&out, "%04x%s0000", len(line)+4, line)
	}
	err := s.runGit(r.Context(), gitCommand{
		args: g.args("--http-backend-info-refs", dir), dir: dir, protocol: g.protocol, stdout: &out,
	})
	if err != nil {
		http.Error(w, "git failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-"+g.service+"-advertisement")
	_, _ = w.Write(out.Bytes())
}

func (g gitCall) args(flag, dir string) []string {
	args := []string{strings.TrimPrefix(g.service, "git-"), "--stateless-rpc", dir}
	if flag != "" {
		args = []string{args[0], "--stateless-rpc", flag, dir}
	}
	return args
}

// callService streams a request through git. git answers before it has read everything,
// so the connection is used in both directions at once.
func (s *Server) callService(w http.ResponseWriter, r *http.Request, g gitCall, dir string) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	body, err := decoded(r)
	if err != nil {
		refuseGit(w, r, refuse(http.StatusUnsupportedMediaType, err.Error()))
		return
	}
	_ = http.NewResponseController(w).EnableFullDuplex() // an in-memory response does not need it
	w.Header().Set("Content-Type", "application/x-"+g.service+"-result")
	out := &flusher{w: w, rc: http.NewResponseController(w)}
	err = s.runGit(ctx, gitCommand{
		args: g.args("", dir), dir: dir, protocol: g.protocol, stdin: body, stdout: out,
	})
	if err != nil && !out.used {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func decoded(r *http.Request) (io.Reader, error) {
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
		return r.Body, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(r.Body)
	}
	return nil, errors.New("unsupported content encoding")
}

// A flusher sends git's output immediately, because late progress messages are useless.
type flusher struct {
	w    io.Writer
	rc   *http.ResponseController
	used bool
}

func (f *flusher) Write(p []byte) (int, error) {
	f.used = true
	n, err := f.w.Write(p)
	if err == nil {
		_ = f.rc.Flush()
	}
	return n, err
}

// The endpoints of smart HTTP.
const (
	infoRefs    = "info/refs"
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// A gitPath is what the path of a smart-HTTP URL names.
type gitPath struct {
	owner, name string
	wiki        bool // NAME.wiki, a separate repository
	endpoint    string
}

// parseGitPath parses /OWNER/NAME[.wiki][.git]/ENDPOINT from an escaped path. It
// decodes and cleans nothing, so each endpoint of a repository has only two spellings,
// apart from letter case.
func parseGitPath(escaped string) (gitPath, bool) {
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return gitPath{}, false
	}
	owner, rest, _ := strings.Cut(rest, "/")
	name, endpoint, _ := strings.Cut(rest, "/")
	if endpoint != infoRefs && endpoint != uploadPack && endpoint != receivePack {
		return gitPath{}, false
	}
	p := gitPath{owner: owner, endpoint: endpoint}
	name = cutSuffixFold(name, ".git")
	p.name = cutSuffixFold(name, ".wiki")
	p.wiki = p.name != name
	return p, validOwner(p.owner) && validRepository(p.name)
}

func cutSuffixFold(s, suffix string) string {
	if n := len(s) - len(suffix); n >= 0 && fold(s[n:]) == suffix {
		return s[:n]
	}
	return s
}

// fullName returns the repository's name as in GitHub's messages.
func (p gitPath) fullName() string {
	if p.wiki {
		return p.owner + "/" + p.name + ".wiki.git"
	}
	return p.owner + "/" + p.name + ".git"
}

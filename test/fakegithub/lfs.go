package fakegithub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// lfsMedia is the media type of Git LFS.
const lfsMedia = "application/vnd.git-lfs+json"

const lfsInfix = "info/lfs/"

// The texts of GitHub's answers to git-lfs.
const (
	msgLFSNoObject  = "Object does not exist on the server or you don't have permissions to access it"
	msgLFSNoPush    = "You must have push access to "
	msgLFSNoPull    = "You must have pull access to "
	msgLockExists   = "Lock exists"
	msgLFSTooLarge  = "Size must be less than or equal to 2147483648"
	maxLFSSize      = 2 << 30 // bytes of one object with GitHub Free and Pro
	maxLFSObjects   = 1000    // per batch; git-lfs requests 100
	lfsContact      = "https://github.com/contact"
	defaultLockPage = 100
)

// An lfsPath is what the path of a Git LFS URL names.
type lfsPath struct {
	owner, name string
	endpoint    string // "objects/batch", "locks", "locks/verify" or "locks/ID/unlock"
	lock        int64  // of locks/ID/unlock
}

// parseLFSPath reads /OWNER/NAME[.git]/info/lfs/ENDPOINT from an escaped path.
func parseLFSPath(escaped string) (lfsPath, bool) {
	rest, ok := strings.CutPrefix(escaped, "/")
	owner, rest, _ := strings.Cut(rest, "/")
	name, endpoint, _ := strings.Cut(rest, "/")
	endpoint, isLFS := strings.CutPrefix(endpoint, lfsInfix)
	p := lfsPath{owner: owner, name: cutSuffixFold(name, ".git"), endpoint: endpoint}
	if !ok || !isLFS || !validOwner(p.owner) || !validRepository(p.name) {
		return lfsPath{}, false
	}
	switch endpoint {
	case "objects/batch", "locks", "locks/verify":
		return p, true
	}
	id, isLock := strings.CutPrefix(endpoint, "locks/")
	id, isUnlock := strings.CutSuffix(id, "/unlock")
	n, err := strconv.ParseInt(id, 10, 64)
	p.lock = n
	return p, isLock && isUnlock && err == nil
}

// An lfsCall is one request to the LFS server of a repository, with its caller and its
// purpose. token is nil for an anonymous caller.
type lfsCall struct {
	s     *Server
	r     *http.Request
	path  lfsPath
	body  []byte
	repo  *Repository
	token *issued
}

// serveLFS answers everything except the transfers themselves. It holds s.mu the whole
// time, as answerCall does.
func (s *Server) serveLFS(w http.ResponseWriter, r *http.Request, p lfsPath) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		s.writeLFS(w, refuse(http.StatusRequestEntityTooLarge, "Payload too large").lfsAnswer())
		return
	}
	s.mu.Lock()
	c := lfsCall{s: s, r: r, path: p, body: body}
	a := c.run()
	s.mu.Unlock()
	s.writeLFS(w, a)
}

func (c lfsCall) run() answer {
	if no := c.checkForm(); no != nil {
		return no.lfsAnswer()
	}
	if no := c.identify(); no != nil {
		return no.lfsAnswer()
	}
	switch c.path.endpoint {
	case "objects/batch":
		return c.batch()
	case "locks":
		if c.r.Method == http.MethodGet {
			return c.listLocks()
		}
		return c.createLock()
	case "locks/verify":
		return c.verifyLocks()
	}
	return c.unlock()
}

// checkForm checks the headers that the LFS API requires.
func (c lfsCall) checkForm() *refusal {
	isList := c.path.endpoint == "locks" && c.r.Method == http.MethodGet
	switch {
	case c.r.Method != http.MethodPost && !isList:
		return refuse(http.StatusMethodNotAllowed, "Method not allowed")
	case !isLFSMedia(c.r.Header.Values("Accept")):
		return refuse(http.StatusNotAcceptable, "The Accept header must be "+lfsMedia)
	case !isList && !isLFSMedia(c.r.Header.Values("Content-Type")):
		return refuse(http.StatusUnsupportedMediaType, "The Content-Type header must be "+lfsMedia)
	case !isList && c.r.URL.RawQuery != "":
		return loudly("a query on a POST")
	}
	return nil
}

func isLFSMedia(values []string) bool {
	return len(values) == 1 && (values[0] == lfsMedia || values[0] == lfsMedia+"; charset=utf-8")
}

// identify fills in the token and the repository. A caller that may not know of a
// repository gets the answer for a missing one.
func (c *lfsCall) identify() *refusal {
	cred := credentialOf(c.r)
	if cred.scheme == "basic" {
		c.token = c.s.token(cred.secret)
	}
	if c.token != nil && c.s.isUnknownYet(c.token) {
		c.token = nil
	}
	if cred.scheme != "" && c.token == nil {
		return refuse(http.StatusUnauthorized, msgBadCredentials)
	}
	c.repo = c.s.state.repository(c.path.owner, c.path.name)
	moved := false
	if c.repo == nil {
		c.repo = c.s.state.renamed(c.path.owner, c.path.name)
		moved = c.repo != nil
	}
	switch {
	case c.repo != nil && c.repo.Public && c.token == nil:
		return nil
	case c.token == nil:
		return refuse(http.StatusUnauthorized, msgNoSuchRepo)
	case c.repo == nil, !c.repo.Public && !c.token.reaches(c.repo):
		return refuse(http.StatusNotFound, msgNoSuchRepo)
	case !c.token.installation.suspended.IsZero():
		return refuse(http.StatusForbidden, msgSuspended)
	case moved:
		return c.movedTo()
	}
	return nil
}

func (c *lfsCall) movedTo() *refusal {
	location := fmt.Sprintf("https://%s/%s.git/%s%s", c.r.Host, c.repo.FullName(), lfsInfix, c.path.endpoint)
	return &refusal{status: http.StatusPermanentRedirect, message: "Moved Permanently", header: http.Header{"Location": {location}}}
}

// mayRead reports whether the caller may download and list locks.
func (c lfsCall) mayRead() bool {
	return c.repo.Public || c.token != nil && c.token.reaches(c.repo) && c.token.allows("contents", "read")
}

// mayWrite returns nil if the caller may write, and otherwise that doing so needs push
// access.
func (c lfsCall) mayWrite(doing string) *refusal {
	switch {
	case c.token == nil:
		return refuse(http.StatusUnauthorized, msgLFSNoPush+doing)
	case !c.token.reaches(c.repo), !c.token.allows("contents", "write"):
		return refuse(http.StatusForbidden, msgLFSNoPush+doing)
	}
	return nil
}

// decode reads the body strictly.
func (c lfsCall) decode(into any) *refusal {
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
	}
	if err != nil && strings.HasPrefix(err.Error(), "json: unknown field") {
		return loudly(err.Error())
	}
	return refuse(http.StatusBadRequest, "Problems parsing JSON")
}

// lfsAnswer returns the refusal in the form of the LFS API.
func (no *refusal) lfsAnswer() answer {
	return answer{status: no.status, body: object{"message": no.message, "documentation_url": lfsContact}, header: no.header}
}

// writeLFS sends an answer in the form of the LFS API.
func (s *Server) writeLFS(w http.ResponseWriter, a answer) {
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	s.commonHeaders(h)
	if body, is := a.body.(object); is && body["message"] != nil {
		body["request_id"] = h.Get("X-GitHub-Request-Id")
	}
	h.Set("Content-Type", lfsMedia)
	if a.status == http.StatusUnauthorized {
		h.Set("LFS-Authenticate", `Basic realm="GitHub"`)
	}
	text, err := json.Marshal(a.body)
	if err != nil {
		a.status = http.StatusInternalServerError
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(a.status)
	_, _ = w.Write(text)
}

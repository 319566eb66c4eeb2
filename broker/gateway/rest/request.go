package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/internal/gitname"
)

// maxBody is the maximum size of a request's body, in bytes.
const maxBody = 16 << 20

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// read parses and checks the request, before the caller is known.
func (c *call) read() (err error) {
	c.target, err = parseTarget(c.r.Host, c.r.RequestURI)
	switch {
	case errors.Is(err, errArea), errors.Is(err, errRepo):
		return notHere(err.Error())
	case err != nil:
		return broker.BadRequest(err.Error())
	}
	if _, ok := access.Origin(c.r); !ok {
		return broker.BadRequest("the Host of this request is not a host name")
	}
	if err := c.readMethod(); err != nil {
		return err
	}
	return c.readBody()
}

func (c *call) readMethod() error {
	if c.target.area == graphqlArea && c.r.Method != http.MethodPost {
		return broker.NotAllowed(c.w, http.MethodPost)
	}
	if !slices.Contains(methods, c.r.Method) {
		return broker.NotAllowed(c.w, methods...)
	}
	return nil
}

func (c *call) readBody() error {
	coding := c.r.Header.Get("Content-Encoding")
	switch {
	case coding != "" && coding != "identity":
		return refuse(http.StatusUnsupportedMediaType, broker.ReasonRequest, "the body of this request is compressed; send it uncompressed")
	case isSafe(c.r.Method) && c.r.ContentLength != 0:
		return broker.BadRequest("a " + c.r.Method + " request must not have a body here")
	case c.r.ContentLength > maxBody:
		return tooLarge()
	}
	return nil
}

func tooLarge() *broker.Refusal {
	return refuse(http.StatusRequestEntityTooLarge, broker.ReasonRequest, fmt.Sprintf("the body of this request is over %d MiB", maxBody>>20))
}

// authorize determines the request's repository, and gets a token for it.
func (c *call) authorize() (err error) {
	if err := refusedPath(c.target); err != nil {
		return err
	}
	repo, err := c.repository()
	if err != nil {
		return err
	}
	c.grant, err = c.access.Token(c.r.Context(), c.caller, repo, access.API)
	if refusal, ok := errors.AsType[*broker.Refusal](err); ok && refusal.Reason == broker.ReasonRepository {
		return notHere(refusal.Detail)
	}
	if err != nil {
		return err
	}
	if c.target.id != 0 && !slices.Contains(c.grant.Token.RepositoryIDs, c.target.id) {
		return notHere(fmt.Sprintf("this session is for %s, not for the repository with the ID %d", repo, c.target.id))
	}
	return nil
}

// repository returns the session's repository, or else the one in the path.
func (c *call) repository() (gitname.Repo, error) {
	of, named := c.caller.Repo, c.target.repo
	switch {
	case of.IsValid() && named.IsValid() && named != of:
		return of, notHere("this session is for " + of.String() + ", not for " + named.String())
	case of.IsValid():
		return of, nil
	case named.IsValid():
		return named, nil
	}
	return of, refuse(http.StatusForbidden, broker.ReasonRepository, `this session is not for a single repository, and the request does not name one; get a session for it: POST /v1/session with {"repo":"owner/name"}`)
}

// refusedPath refuses requests about the App and its tokens: one of them would revoke a
// token that other workspaces also use.
func refusedPath(t target) error {
	if t.area == uploadArea {
		return refuse(http.StatusForbidden, broker.ReasonPermission, "the gateway does not upload release assets: that needs contents: write, which its API tokens never have")
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(t.path, "/"), "/")
	switch first {
	case "app", "app-manifests", "applications", "authorizations":
	case "installation":
		if t.path == "/installation/repositories" {
			return nil
		}
	default:
		return nil
	}
	return refuse(http.StatusForbidden, broker.ReasonPermission, "/"+first+" is for the App's owner; the gateway does not serve it")
}

// An area is a part of GitHub's API.
type area int

const (
	restArea area = iota + 1 // zero means none
	graphqlArea
	uploadArea
)

// A target is what a request asks for, according to its host and its escaped path.
type target struct {
	area area
	// base is the path of the REST API as the caller uses it: "/api/v3", or "" on a
	// host api.NAME.
	base string
	// path is the path below base, as the caller escaped it, such as
	// "/repos/o/r/pulls"; "" is the base itself.
	path  string
	query string // without "?"

	repo gitname.Repo // the repository in the path; zero if it names none
	id   int64        // the repository's id, if the path has it; else 0
	tail string       // the path after the repository: "" or "/…"
}

const (
	maxPath  = 4 << 10 // bytes of an escaped path
	maxQuery = 8 << 10

	maxEscapes = 4 // how often a path may be escaped, plus one
)

var (
	errPath  = errors.New("the path of this request is not one of GitHub's API: it has an empty segment, a segment of dots, or a character that must be escaped")
	errQuery = errors.New("the query of this request is too long, or has a character that must be escaped")
	errForm  = errors.New("the request names its target with a scheme and a host; send the path alone")
	errArea  = errors.New("the gateway does not serve this path; it serves /api/v3/… and /api/graphql")
	errRepo  = errors.New("the path of this request does not name a repository as owner/name")
)

// Serves reports whether a request is for GitHub's API. That is so if its target starts
// with /api/. It is also so if its host starts with "api." and the target is neither
// one of the broker's own nor one of git's.
func Serves(host, target string) bool {
	if strings.HasPrefix(target, "/api/") {
		return true
	}
	path, _, _ := strings.Cut(target, "?")
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return isAPIHost(host) && !slices.Contains(own, first) && (first == "repos" || !isGit(rest))
}

// own are the first segments of the broker's own paths; "" is its page.
var own = []string{"", "v1", "git", "console", "healthz", "readyz"}

// isGit reports whether rest, the path after the owner, is a repository and a path that
// git requests.
func isGit(rest string) bool {
	_, service, _ := strings.Cut(rest, "/")
	return service == "git-upload-pack" || service == "git-receive-pack" || strings.HasPrefix(service, "info/")
}

func isAPIHost(host string) bool { return strings.HasPrefix(gitname.Fold(host), "api.") }

// parseTarget parses the request target as it was sent to host. It decodes and cleans
// nothing.
func parseTarget(host, requestURI string) (target, error) {
	if !strings.HasPrefix(requestURI, "/") {
		return target{}, errForm
	}
	path, query, _ := strings.Cut(requestURI, "?")
	if !isPath(path) {
		return target{}, errPath
	}
	if !isQuery(query) {
		return target{}, errQuery
	}
	t := target{query: query}
	if err := t.layout(host, path); err != nil {
		return target{}, err
	}
	if t.area != restArea {
		return t, nil
	}
	return t, t.resource()
}

// layout splits the path by the layout of the API: below /api/ on every host, and at
// the root on a host api.NAME.
func (t *target) layout(host, path string) error {
	isRoot := isAPIHost(host) && !strings.HasPrefix(path, "/api/")
	if !isRoot {
		t.base = "/api/v3"
	}
	rest, isREST := strings.CutPrefix(path, t.base)
	switch {
	case isRoot && path == "/graphql", path == "/api/graphql":
		t.area = graphqlArea
	case strings.HasPrefix(path, "/api/uploads/"):
		t.area = uploadArea
	case isREST && (rest == "" || rest[0] == '/'):
		t.area, t.path = restArea, strings.TrimSuffix(rest, "/")
		if t.path != "" {
			t.path = rest // a trailing slash matters in git/matching-refs/heads/
		}
	default:
		return errArea
	}
	return nil
}

// resource finds the repository in the path.
func (t *target) resource() error {
	segments := strings.SplitN(t.path, "/", 5) // "", "repos", owner, name, tail
	first := ""
	if len(segments) > 1 {
		first = segments[1]
	}
	switch {
	case !isName(first):
		return errPath
	case first == "repos" && len(segments) > 3:
		repo, ok := gitname.Repository(segments[2] + "/" + segments[3])
		if !ok {
			return errRepo
		}
		t.repo = repo
		t.tail = t.path[len("/repos/")+len(segments[2])+1+len(segments[3]):]
	case first == "repos":
		return errRepo
	case first == "repositories" && len(segments) > 2 && segments[2] != "":
		id, err := strconv.ParseInt(segments[2], 10, 64)
		if err != nil || id <= 0 || segments[2] != strconv.FormatInt(id, 10) {
			return errRepo
		}
		t.id = id
		t.tail = t.path[len("/repositories/")+len(segments[2]):]
	default:
		if hasEscapedSlash(t.path) {
			return errPath
		}
	}
	return nil
}

// isName reports whether the first segment of a path is spelled as GitHub spells all of
// them. So a refused name has no other spelling.
func isName(segment string) bool {
	for _, c := range []byte(segment) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isPath reports whether all readers split an escaped path into the same segments. It
// must be visible ASCII without characters that need an escape. No segment may be
// empty, except at the end. No segment may consist of dots, also not after escapes, and
// escapes of escapes, are decoded. It may contain escaped slashes (gh writes
// "git/ref/tags%2Fv1"), which count as separators here.
func isPath(path string) bool {
	if len(path) > maxPath || !isVisible(path, "\"#<>?\\^`{|};") {
		return false
	}
	if _, err := url.PathUnescape(path); err != nil || strings.Contains(path, "//") {
		return false
	}
	for range maxEscapes {
		for segment := range strings.SplitSeq(path, "/") {
			if segment == "." || segment == ".." {
				return false
			}
		}
		decoded, err := url.PathUnescape(escapePercent(path))
		if err != nil || !isText(decoded) {
			return false
		}
		if decoded == path {
			return true
		}
		path = decoded
	}
	return false
}

// escapePercent escapes percent signs that begin no escape, so that "100%", which is
// "100%25" decoded, can be decoded again.
func escapePercent(text string) string {
	var out strings.Builder
	for i := range len(text) {
		out.WriteByte(text[i])
		if text[i] == '%' && (i+2 >= len(text) || !isHex(text[i+1]) || !isHex(text[i+2])) {
			out.WriteString("25")
		}
	}
	return out.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isQuery(query string) bool { return len(query) <= maxQuery && isVisible(query, "#\\\"<>`") }

// isVisible reports whether text is printable ASCII without blanks, and contains none
// of the characters in not.
func isVisible(text, not string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || strings.IndexByte(not, c) >= 0 {
			return false
		}
	}
	return true
}

// isText reports whether decoded text contains no control character and no backslash.
func isText(decoded string) bool {
	for _, c := range []byte(decoded) {
		if c < ' ' || c == 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

func hasEscapedSlash(path string) bool { return strings.Contains(gitname.Fold(path), "%2f") }

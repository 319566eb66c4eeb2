package rest

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

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
	errPath  = errors.New("the path of this request is not one of GitHub's API: it has an empty segment, a segment of dots, or a character that has to be escaped")
	errQuery = errors.New("the query of this request is too long, or has a character that has to be escaped")
	errForm  = errors.New("the request names its target with a scheme and a host; send the path alone")
	errArea  = errors.New("this address has no such API; it serves /api/v3/… and /api/graphql")
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
		decoded, err := url.PathUnescape(escapeStray(path))
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

// escapeStray escapes percent signs that begin no escape, so that "100%", which is
// "100%25" decoded, can be decoded again.
func escapeStray(text string) string {
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

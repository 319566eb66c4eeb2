package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/gitname"
)

// A service is what a request wants of a repository.
type service string

const (
	uploadPack  service = "git-upload-pack"  // a fetch
	receivePack service = "git-receive-pack" // a push
	largeFiles  service = "lfs"              // Git LFS, served by package lfs
)

// A route is a request's parsed path.
type route struct {
	repo      api.Repo
	service   service
	advertise bool   // GET info/refs, for refs and capabilities
	lfs       string // the path after info/lfs, such as "/objects/batch"
}

// isOurs reports whether the gateway answers this target, even if with a refusal:
// everything below /git/, and the paths that git requests of OWNER/REPO at the root.
func isOurs(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	if strings.HasPrefix(path, "/git/") || path == "/git" {
		return true
	}
	parts := strings.Split(path, "/")
	if len(parts) < 4 || slices.Contains(reserved, parts[1]) {
		return false
	}
	switch strings.Join(parts[3:], "/") {
	case "info/refs", string(uploadPack), string(receivePack), "HEAD", "git-upload-archive":
		return true
	}
	return parts[3] == "objects" || strings.HasPrefix(strings.Join(parts[3:], "/"), "info/lfs")
}

// reserved are the first segments of the broker's own paths. For a GitHub account with
// such a name, use /git/HOST/OWNER/REPO.
var reserved = []string{"git", "v1", "api"}

// parseRoute parses the target of a request: path and query as they were sent. It
// decodes and cleans nothing, so that no two readers can disagree. hosts are the hosts
// that the policy serves. The error is a [*broker.Refusal].
//
//	/git/HOST/OWNER/REPO[.git]/SERVICE
//	/OWNER/REPO[.git]/SERVICE            for the first of hosts
func parseRoute(method, target string, hosts []string) (route, error) {
	path, query, hasQuery := strings.Cut(target, "?")
	if !isPlain(path) {
		return route{}, bad("the path has characters that a git path must not have")
	}
	rest, ok := strings.CutPrefix(path, "/git/")
	if ok {
		host, after, _ := strings.Cut(rest, "/")
		if canonical, isHost := gitname.Host(host); !isHost || !slices.Contains(hosts, canonical) {
			return route{}, notFound(broker.ReasonHost, "this gateway does not serve that host")
		}
		rest = after
	} else {
		rest = strings.TrimPrefix(path, "/")
	}
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 3 {
		return route{}, notFound(broker.ReasonRequest, "this gateway serves git only; pages of GitHub are not served")
	}
	r, err := parseRepo(parts[0], parts[1])
	if err != nil {
		return route{}, err
	}
	return r.of(method, parts[2], query, hasQuery)
}

// isPlain reports whether a path contains nothing that needs decoding or cleaning.
func isPlain(path string) bool {
	for i := range len(path) {
		c := path[i]
		isAlnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !isAlnum && !strings.ContainsRune("-_./:[]", rune(c)) { // a host may have a colon and brackets
			return false
		}
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return strings.HasPrefix(path, "/")
}

func parseRepo(owner, name string) (route, error) {
	bare := strings.TrimSuffix(gitname.Fold(name), ".git")
	if strings.HasSuffix(bare, ".wiki") {
		return route{}, denied(broker.ReasonRepository, "wikis are not served: anyone who can push to the repository can push to its wiki, and a wiki has no branch rules")
	}
	repo, ok := gitname.Repository(gitname.Fold(owner) + "/" + bare)
	if !ok {
		return route{}, bad("the path does not name a repository; write OWNER/REPO.git")
	}
	return route{repo: repo}, nil
}

// of completes a route with the path after the repository.
func (r route) of(method, rest, query string, hasQuery bool) (route, error) {
	switch {
	case rest == "info/refs":
		return r.ofAdvertisement(method, query, hasQuery)
	case rest == string(uploadPack), rest == string(receivePack):
		r.service = service(rest)
		if method != http.MethodPost {
			return r, wrongMethod(http.MethodPost)
		}
		if hasQuery {
			return r, bad("this request has a query; git sends none")
		}
		return r, nil
	case strings.HasPrefix(rest, "info/lfs/"):
		r.service, r.lfs = largeFiles, strings.TrimPrefix(rest, "info/lfs")
		return r, nil
	case rest == "git-upload-archive":
		return r, denied(broker.ReasonRequest, "archives are not served; clone the repository")
	case rest == "HEAD", strings.HasPrefix(rest, "objects/"):
		return r, denied(broker.ReasonRequest, "the dumb protocol of git is not served")
	}
	return r, notFound(broker.ReasonRequest, "this gateway serves git only; pages of GitHub are not served")
}

func (r route) ofAdvertisement(method, query string, hasQuery bool) (route, error) {
	if method != http.MethodGet {
		return r, wrongMethod(http.MethodGet)
	}
	if !hasQuery {
		return r, denied(broker.ReasonRequest, "the dumb protocol of git is not served")
	}
	name, ok := strings.CutPrefix(query, "service=")
	r.service, r.advertise = service(name), true
	switch {
	case ok && (r.service == uploadPack || r.service == receivePack):
		return r, nil
	case ok && name == "git-upload-archive":
		return r, denied(broker.ReasonRequest, "archives are not served; clone the repository")
	}
	return r, bad("the query must be service=git-upload-pack or service=git-receive-pack")
}

func bad(detail string) *broker.Refusal { return broker.BadRequest(detail) }

func denied(reason, detail string) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusForbidden, Reason: reason, Detail: detail}
}

func notFound(reason, detail string) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusNotFound, Reason: reason, Detail: detail}
}

func wrongMethod(want string) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusMethodNotAllowed, Reason: broker.ReasonRequest, Detail: "this path is for " + want}
}

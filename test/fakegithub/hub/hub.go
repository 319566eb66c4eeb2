// Package hub adds to the GitHub double what programs such as gh use in addition to
// git: pull requests, issues, refs, commits, merges, releases, Actions, and GraphQL. It
// is a separate package because it links a GraphQL library, which no program of this
// module may link.
//
//	github, err := fakegithub.New(fakegithub.Options{})
//	h, err := hub.Attach(github)
//
// It is as strict and stateful as the double itself. It refuses every call without the
// permission that GitHub requires of an App for it
// (https://docs.github.com/rest/authentication/permissions-required-for-github-apps),
// and a call that moves a ref moves it in the bare repository. [Moves] lists every such
// call.
package hub

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/gatepass/gatepass/test/fakegithub"
)

type object = map[string]any

// A Hub is this part of one GitHub. Make it with Attach.
type Hub struct {
	s       *fakegithub.Server
	schema  *ast.Schema
	storage *storage

	mu    sync.Mutex // guards everything below; taken before the Server's lock
	repos map[int64]*repository
	// Version of the Enterprise Server that /meta reports; "" means github.com, which
	// reports none.
	enterprise string
}

// A repository is the hub's state of a repository, apart from its git.
type repository struct {
	number    int // number of the latest issue or pull request
	issues    []*issue
	labels    []label
	releases  []*release
	workflows []*workflow
	runs      []*run
	artifacts []*artifact
	autofixes []*autofix
	deploys   []*deployment
	upstream  int64 // repository that this is a fork of; 0 means none
}

// Attach adds the endpoints to s. Call it once.
func Attach(s *fakegithub.Server) (*Hub, error) {
	h := &Hub{s: s, repos: map[int64]*repository{}}
	var err error
	if h.schema, err = loadSchema(); err != nil {
		return nil, err
	}
	if h.storage, err = newStorage(s); err != nil {
		return nil, err
	}
	h.routes()
	return h, nil
}

// SetEnterprise makes /meta answer like a GitHub Enterprise Server of that version,
// such as "3.20.0"; "" means github.com, which reports no version.
func (h *Hub) SetEnterprise(version string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enterprise = version
}

// of returns the hub's state of a repository. The caller must hold h.mu.
func (h *Hub) of(repo fakegithub.Repository) *repository {
	st := h.repos[repo.ID]
	if st == nil {
		st = &repository{labels: slices.Clone(firstLabels)}
		h.repos[repo.ID] = st
	}
	return st
}

// A request is a call to an endpoint of one repository. Its handler holds h.mu.
type request struct {
	fakegithub.Call
	h    *Hub
	repo fakegithub.Repository
	st   *repository
}

type handler func(request) fakegithub.Answer

// in adds an endpoint below a repository. needs are the required permissions, as in
// "contents:write"; "issues:read|pull_requests:read", where either is enough; or
// "contents:write,pull_requests:write", where both are needed.
func (h *Hub) in(method, path, needs string, do handler) {
	answer := func(c fakegithub.Call) fakegithub.Answer {
		repo, no := c.Repository()
		if no != nil {
			return *no
		}
		if no := permitted(c, repo, needs); no != nil {
			return *no
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		return do(request{c, h, repo, h.of(repo)})
	}
	h.s.Handle(method+" /repos/{owner}/{repo}"+path, answer)
	h.s.Handle(method+" /repositories/{id}"+path, answer)
}

// permitted returns GitHub's refusal if the call's token lacks the permission.
func permitted(c fakegithub.Call, repo fakegithub.Repository, needs string) *fakegithub.Answer {
	if allowed(c, repo, needs) {
		return nil
	}
	if c.Bot() == "" {
		return c.Refuse(http.StatusUnauthorized, "Requires authentication")
	}
	no := c.Refuse(http.StatusForbidden, notForApps)
	accepted := strings.NewReplacer(":", "=", "|", "; ").Replace(needs)
	no.Header = http.Header{"X-Accepted-Github-Permissions": {accepted}}
	return no
}

// notForApps is GitHub's message to an App that lacks a permission.
const notForApps = "Resource not accessible by integration"

func allowed(c fakegithub.Call, repo fakegithub.Repository, needs string) bool {
	for either := range strings.SplitSeq(needs, "|") {
		all := true
		for one := range strings.SplitSeq(either, ",") {
			permission, level, _ := strings.Cut(one, ":")
			all = all && c.Allows(repo, permission, level)
		}
		if all {
			return true
		}
	}
	return false
}

func ok(body any) fakegithub.Answer { return fakegithub.Answer{Status: http.StatusOK, Body: body} }

func created(body any) fakegithub.Answer {
	return fakegithub.Answer{Status: http.StatusCreated, Body: body}
}

var noContent = fakegithub.Answer{Status: http.StatusNoContent}

// notFound returns the answer for a missing object of a repository.
func (r request) notFound() fakegithub.Answer { return *r.Refuse(http.StatusNotFound, "Not Found") }

// listed answers with one page of a list.
func listed[T any](r request, items []T, show func(T) object) fakegithub.Answer {
	some, header := fakegithub.Page(r.Call, items)
	return fakegithub.Answer{Status: http.StatusOK, Body: showAll(some, show), Header: header}
}

func showAll[T any](items []T, show func(T) object) []object {
	out := make([]object, 0, len(items))
	for _, item := range items {
		out = append(out, show(item))
	}
	return out
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// maybe returns null for the zero time.
func maybe(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return timestamp(t)
}

func randomText() string { return rand.Text() }

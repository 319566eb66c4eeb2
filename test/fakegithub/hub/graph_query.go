package hub

import (
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// A graph is the part of GitHub that one caller may see.
type graph struct {
	fakegithub.Call
	h *Hub
	x *execution
}

var forbidden = &failure{kind: "FORBIDDEN", message: notForApps}

func notFound(format string, args ...any) *failure {
	f := fail(0, format, args...)
	f.kind = "NOT_FOUND"
	return f
}

func text(args object, key string) string {
	s, _ := args[key].(string)
	return s
}

func number(args object, key string) (int, bool) {
	switch n := args[key].(type) {
	case int64:
		return int(n), true
	case int:
		return n, true
	case float64:
		return int(n), true
	}
	return 0, false
}

func (g graph) query() entity {
	return entity{"Query", object{
		"__type":          lazy(g.x.typeNamed),
		"__schema":        lazy(func(object) (any, *failure) { return g.x.schemaEntity(), nil }),
		"viewer":          lazy(func(object) (any, *failure) { return g.viewer(), nil }),
		"repository":      lazy(g.repository),
		"repositoryOwner": lazy(g.owner),
		"user":            lazy(g.owner),
		"organization":    lazy(g.owner),
		"node":            lazy(func(args object) (any, *failure) { return g.node(text(args, "id")) }),
		"search":          lazy(g.search),
		"rateLimit":       lazy(func(object) (any, *failure) { return g.rateLimit(), nil }),
	}}
}

func (g graph) rateLimit() entity {
	w := g.RateLimit()
	return entity{"RateLimit", object{
		"cost": 1, "limit": w.Limit, "nodeCount": 0, "remaining": w.Remaining, "used": w.Used, "resetAt": timestamp(w.Reset),
	}}
}

// in returns a repository as a request to it.
func (g graph) in(repo fakegithub.Repository) request {
	return request{g.Call, g.h, repo, g.h.of(repo)}
}

func (g graph) repository(args object) (any, *failure) {
	owner, name := text(args, "owner"), text(args, "name")
	repo, there := g.h.s.Repository(owner, name)
	if !there || !g.MaySee(repo) {
		return nil, notFound("Could not resolve to a Repository with the name '%s/%s'.", owner, name)
	}
	return g.in(repo).repositoryEntity(), nil
}

func (g graph) owner(args object) (any, *failure) {
	login := text(args, "login")
	if !g.h.s.HasAccount(login) {
		return nil, notFound("Could not resolve to a User with the login of '%s'.", login)
	}
	return actor(g.Call, login), nil
}

// viewer returns the bot of the App, which GitHub shows as a user here.
func (g graph) viewer() entity {
	e := actor(g.Call, g.Bot())
	e.kind = "User"
	e.fields["login"], e.fields["name"] = g.Bot(), nil
	e.fields["organizations"] = connection("OrganizationConnection", func() []entity { return nil })
	return e
}

// actor returns an account. In GraphQL, a bot's login is that of its App.
func actor(c fakegithub.Call, login string) entity {
	u := c.ShowUser(login)
	kind := u["type"].(string)
	return entity{kind, object{
		"id": u["node_id"], "databaseId": u["id"], "login": strings.TrimSuffix(login, "[bot]"), "name": login,
		"url": u["html_url"], "avatarUrl": u["avatar_url"], "email": "",
	}}
}

// find returns the repository, issue or pull request with an ID.
func (g graph) find(id, kind string) (request, *issue, *failure) {
	no := notFound("Could not resolve to a node with the global id of '%s'", id)
	got, repoID, name, is := parseNodeID(id)
	repo, there := g.h.s.RepositoryByID(repoID)
	if !is || !there || !g.MaySee(repo) || kind != "" && got != kind {
		return request{}, nil, no
	}
	r := g.in(repo)
	n, _ := strconv.Atoi(name)
	i := r.st.find(n)
	if i == nil || (i.pull != nil) != (got == "PR") {
		return r, nil, no
	}
	return r, i, nil
}

// repositoryWith finds a repository by its ID.
func (g graph) repositoryWith(id string) (request, *failure) {
	for _, repo := range g.Repositories() {
		if fakegithub.NodeID("Repository", repo.ID) == id {
			return g.in(repo), nil
		}
	}
	return request{}, notFound("Could not resolve to a node with the global id of '%s'", id)
}

// ref finds a ref by its ID.
func (g graph) ref(id string) (r request, name string, f *failure) {
	kind, repoID, name, is := parseNodeID(id)
	repo, there := g.h.s.RepositoryByID(repoID)
	if !is || !there || kind != "REF" || !g.MaySee(repo) || (bare{g.h.s, repo}).ref(name) == "" {
		return request{}, "", notFound("Could not resolve to a node with the global id of '%s'", id)
	}
	return g.in(repo), name, nil
}

func (g graph) node(id string) (any, *failure) {
	if r, f := g.repositoryWith(id); f == nil {
		return r.repositoryEntity(), nil
	}
	if r, name, f := g.ref(id); f == nil {
		return r.guarded("contents:read", func(object) (any, *failure) { return r.refEntity(name), nil })(nil)
	}
	r, i, f := g.find(id, "")
	switch {
	case f != nil:
		return nil, f
	case i.pull != nil:
		return r.guarded("pull_requests:read", func(object) (any, *failure) { return r.pullEntity(i), nil })(nil)
	}
	return r.guarded("issues:read", func(object) (any, *failure) { return r.issueEntity(i), nil })(nil)
}

// guarded refuses the field if the token lacks a permission.
func (r request) guarded(needs string, f lazy) lazy {
	return func(args object) (any, *failure) {
		if !allowed(r.Call, r.repo, needs) {
			return nil, forbidden
		}
		return f(args)
	}
}

// search finds issues and pull requests. Words that are not qualifiers must be in the
// title.
func (g graph) search(args object) (any, *failure) {
	var found []entity
	g.each(parseSearch(text(args, "query")), func(r request, i *issue) { found = append(found, r.either(i)) })
	e, f := connection("SearchResultItemConnection", func() []entity { return found })(args)
	if f == nil {
		e.(entity).fields["issueCount"] = len(found)
	}
	return e, f
}

// each calls do for every result of a search that the token may read.
func (g graph) each(q searchQuery, do func(request, *issue)) {
	for _, repo := range g.Repositories() {
		if name := strings.ToLower(q.of("repo")); name != "" && name != strings.ToLower(repo.FullName()) {
			continue
		}
		r := g.in(repo)
		for _, i := range newestFirst(r.st.issues) {
			if i.pull != nil {
				r.refresh(i)
			}
			needs := "issues:read"
			if i.pull != nil {
				needs = "pull_requests:read"
			}
			if q.matches(i) && allowed(g.Call, repo, needs) {
				do(r, i)
			}
		}
	}
}

// A searchQuery is the text of GitHub's search box: qualifiers and words.
type searchQuery struct {
	qualifiers [][2]string
	words      []string
}

func parseSearch(query string) searchQuery {
	var q searchQuery
	for _, word := range strings.Fields(query) {
		if word == "(" || word == ")" {
			continue // operator of the advanced search; all words are required anyway
		}
		if key, value, is := strings.Cut(word, ":"); is {
			q.qualifiers = append(q.qualifiers, [2]string{key, strings.Trim(value, `"`)})
			continue
		}
		q.words = append(q.words, strings.ToLower(word))
	}
	return q
}

func (q searchQuery) of(key string) string {
	for _, pair := range q.qualifiers {
		if pair[0] == key {
			return pair[1]
		}
	}
	return ""
}

// matches reports whether an issue matches the query. An unknown qualifier matches no
// issue.
func (q searchQuery) matches(i *issue) bool {
	for _, pair := range q.qualifiers {
		is := false
		switch pair[0] + ":" + pair[1] {
		case "is:pr", "type:pr":
			is = i.pull != nil
		case "is:issue", "type:issue":
			is = i.pull == nil
		case "is:open", "state:open":
			is = i.open()
		case "is:closed", "state:closed":
			is = !i.open()
		case "is:merged":
			is = i.pull != nil && !i.pull.merged.IsZero()
		}
		switch pair[0] {
		case "repo", "sort", "archived":
			is = true
		case "author":
			is = strings.EqualFold(pair[1], i.author) || "app/"+strings.TrimSuffix(i.author, "[bot]") == pair[1]
		case "head":
			is = i.pull != nil && i.pull.head == pair[1]
		case "base":
			is = i.pull != nil && i.pull.base == pair[1]
		}
		if !is {
			return false
		}
	}
	for _, word := range q.words {
		if !strings.Contains(strings.ToLower(i.title), word) {
			return false
		}
	}
	return true
}

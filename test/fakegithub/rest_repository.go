package fakegithub

import (
	"fmt"
	"net/http"
)

// repository is the one the path names, by {owner}/{repo} or {id}, and
// whether the name is one it had before.
func (c call) repository() (repo *Repository, moved bool) {
	st := &c.s.state
	owner, name := c.r.PathValue("owner"), c.r.PathValue("repo")
	if owner == "" {
		return st.repositories[c.id()], false
	}
	if repo = st.repository(owner, name); repo != nil {
		return repo, false
	}
	return st.renamed(owner, name), true
}

func getRepository(c call) answer {
	repo, moved := c.repository()
	if repo == nil || !c.maySee(repo) {
		return notFound.answer()
	}
	if moved {
		return c.movedTo(repo, "")
	}
	return ok(c.showFullRepository(repo))
}

func (c call) maySee(repo *Repository) bool {
	return repo.Public || (c.token != nil && c.token.reaches(repo) && c.token.allows("metadata", "read"))
}

// movedTo is GitHub's redirect from an old name, which goes by the ID.
func (c call) movedTo(repo *Repository, suffix string) answer {
	url := fmt.Sprintf("https://%s%s/repositories/%d%s", c.r.Host, c.prefix, repo.ID, suffix)
	return answer{
		status: http.StatusMovedPermanently,
		body:   object{"message": "Moved Permanently", "url": url, "documentation_url": docsURL},
		header: http.Header{"Location": {url}},
	}
}

func getRateLimit(c call) answer {
	core := c.s.windowOf("core", c.principal()).answer()
	graphql := c.s.windowOf("graphql", c.principal()).answer()
	search := object{"limit": 30, "used": 0, "remaining": 30, "reset": core["reset"]}
	return ok(object{"rate": core, "resources": object{"core": core, "graphql": graphql, "search": search}})
}

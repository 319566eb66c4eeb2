package fakegithub

import (
	"maps"
	"net/http"
	"slices"
)

// tokenRequest is the body of POST …/access_tokens.
type tokenRequest struct {
	Repositories  []string    `json:"repositories"`
	RepositoryIDs []int64     `json:"repository_ids"`
	Permissions   Permissions `json:"permissions"`
}

func createToken(c call) answer {
	in := c.installation()
	if in == nil {
		return notFound.answer()
	}
	var req tokenRequest
	if no := c.decode(&req); no != nil {
		return no.answer()
	}
	if err := req.Permissions.validate(); err != nil {
		return refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n"+err.Error()).answer()
	}
	want := scope{names: req.Repositories, ids: req.RepositoryIDs, permissions: req.Permissions}
	token, made, no := c.s.mint(in, want, c.wantsStateless())
	if no != nil {
		return no.answer()
	}
	return answer{status: http.StatusCreated, body: c.showToken(token, made)}
}

// wantsStateless follows the header by which GitHub lets one request choose
// the form of its token.
func (c call) wantsStateless() bool {
	switch c.r.Header.Get("X-GitHub-Stateless-S2S-Token") {
	case "enabled":
		return true
	case "disabled":
		return false
	}
	return c.s.opts.StatelessTokens
}

// showToken names repositories only for a token narrowed to some.
func (c call) showToken(token string, t *issued) object {
	body := object{
		"token":                token,
		"expires_at":           timestamp(t.expires),
		"permissions":          t.permissions,
		"repository_selection": t.installation.selection(),
	}
	if t.narrowed {
		body["repository_selection"] = "selected"
		body["repositories"] = c.showRepositories(c.reachedBy(t), t)
	}
	return body
}

func (c call) reachedBy(t *issued) []*Repository {
	all := c.s.state.repositoriesOf(t.installation)
	return slices.DeleteFunc(all, func(r *Repository) bool { return !t.reaches(r) })
}

func deleteToken(c call) answer {
	maps.DeleteFunc(c.s.state.tokens, func(_ tokenKey, t *issued) bool { return t == c.token })
	return noContent
}

func listRepositories(c call) answer {
	all := c.reachedBy(c.token)
	some, header := page(c, all)
	body := object{
		"total_count":          len(all),
		"repository_selection": c.token.installation.selection(),
		"repositories":         c.showRepositories(some, c.token),
	}
	if c.token.narrowed {
		body["repository_selection"] = "selected"
	}
	return answer{status: http.StatusOK, body: body, header: header}
}

package fakegithub

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
)

// tokenRequest is the body of POST …/access_tokens.
type tokenRequest struct {
	Repositories  notNull[[]string]    `json:"repositories"`
	RepositoryIDs notNull[[]int64]     `json:"repository_ids"`
	Permissions   notNull[Permissions] `json:"permissions"`
}

// notNull is a value that may be absent but not null. GitHub's description never allows
// null, and an encoder would write it for a nil slice.
type notNull[T any] struct{ value T }

var errNull = errors.New("null is not a list or an object")

func (n *notNull[T]) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return errNull
	}
	return json.Unmarshal(raw, &n.value)
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
	want := scope{names: req.Repositories.value, ids: req.RepositoryIDs.value, permissions: req.Permissions.value}
	if err := want.permissions.validate(); err != nil {
		return refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n"+err.Error()).answer()
	}
	token, made, no := c.s.mint(in, want, c.wantsStateless())
	if no != nil {
		return no.answer()
	}
	c.s.state.counts.Mints++
	return answer{status: http.StatusCreated, body: c.showToken(token, made)}
}

// wantsStateless reads the header by which a request chooses the form of its token.
func (c call) wantsStateless() bool {
	switch c.r.Header.Get("X-GitHub-Stateless-S2S-Token") {
	case "enabled":
		return true
	case "disabled":
		return false
	}
	return c.s.opts.StatelessTokens
}

// showToken lists repositories only for a token that is limited to some.
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
	delete(c.s.state.tokens, sha256.Sum256([]byte(credentialOf(c.r).secret)))
	c.s.state.counts.Revokes++
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

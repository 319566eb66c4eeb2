package hub

import (
	"net/http"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (h *Hub) metaRoutes() {
	h.s.Handle("GET /{$}", getRoot)
	h.s.Handle("GET /meta", h.getMeta)
	h.s.Handle("GET /user", getUser)
}

// getRoot answers clients that check whether their token works.
func getRoot(c fakegithub.Call) fakegithub.Answer {
	out := object{}
	for name, path := range rootLinks {
		out[name] = c.API("") + path
	}
	return ok(out)
}

var rootLinks = map[string]string{
	"current_user_url":                     "/user",
	"current_user_authorizations_html_url": "/settings/connections/applications{/client_id}",
	"authorizations_url":                   "/authorizations",
	"code_search_url":                      "/search/code?q={query}{&page,per_page,sort,order}",
	"commit_search_url":                    "/search/commits?q={query}{&page,per_page,sort,order}",
	"emails_url":                           "/user/emails",
	"emojis_url":                           "/emojis",
	"events_url":                           "/events",
	"feeds_url":                            "/feeds",
	"followers_url":                        "/user/followers",
	"following_url":                        "/user/following{/target}",
	"gists_url":                            "/gists{/gist_id}",
	"issue_search_url":                     "/search/issues?q={query}{&page,per_page,sort,order}",
	"issues_url":                           "/issues",
	"keys_url":                             "/user/keys",
	"label_search_url":                     "/search/labels?q={query}&repository_id={repository_id}{&page,per_page}",
	"notifications_url":                    "/notifications",
	"organization_url":                     "/orgs/{org}",
	"organization_repositories_url":        "/orgs/{org}/repos{?type,page,per_page,sort}",
	"organization_teams_url":               "/orgs/{org}/teams",
	"public_gists_url":                     "/gists/public",
	"rate_limit_url":                       "/rate_limit",
	"repository_url":                       "/repos/{owner}/{repo}",
	"repository_search_url":                "/search/repositories?q={query}{&page,per_page,sort,order}",
	"current_user_repositories_url":        "/user/repos{?type,page,per_page,sort}",
	"starred_url":                          "/user/starred{/owner}{/repo}",
	"starred_gists_url":                    "/gists/starred",
	"user_url":                             "/users/{user}",
	"user_organizations_url":               "/user/orgs",
	"user_repositories_url":                "/users/{user}/repos{?type,page,per_page,sort}",
	"user_search_url":                      "/search/users?q={query}{&page,per_page,sort,order}",
}

// getMeta answers clients that want to know which kind of GitHub this is.
func (h *Hub) getMeta(c fakegithub.Call) fakegithub.Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := object{"verifiable_password_authentication": h.enterprise != ""}
	if h.enterprise != "" {
		out["installed_version"] = h.enterprise
		return ok(out)
	}
	for _, service := range []string{"hooks", "web", "api", "git", "packages", "pages", "importer", "actions", "dependabot"} {
		out[service] = []string{"127.0.0.0/8"}
	}
	out["domains"] = object{"website": []string{"*.github.com"}}
	return ok(out)
}

// getUser refuses an App, because an installation is not a user.
func getUser(c fakegithub.Call) fakegithub.Answer {
	if c.Bot() == "" {
		return *c.Refuse(http.StatusUnauthorized, "Requires authentication")
	}
	return *c.Refuse(http.StatusForbidden, notForApps)
}

func (h *Hub) routes() {
	h.metaRoutes()
	h.refRoutes()
	h.objectRoutes()
	h.fileRoutes()
	h.pullRoutes()
	h.issueRoutes()
	h.labelRoutes()
	h.reviewRoutes()
	h.commitRoutes()
	h.actionsRoutes()
	h.releaseRoutes()
	h.otherRoutes()
	h.forkRoutes()
	h.graphQLRoutes()
	h.storageRoutes()
}

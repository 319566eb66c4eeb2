package hub

import (
	"net/http"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (h *Hub) metaRoutes() {
	h.s.Handle("GET /meta", h.getMeta)
	h.s.Handle("GET /user", getUser)
	h.s.Handle("GET /users/{login}", h.getUserByLogin)
}

// getMeta is read by clients that want to know what kind of GitHub this is.
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

// getUser has no answer for an App: its installation is no user.
func getUser(c fakegithub.Call) fakegithub.Answer {
	if c.Bot() == "" {
		return *c.Refuse(http.StatusUnauthorized, "Requires authentication")
	}
	return *c.Refuse(http.StatusForbidden, notForApps)
}

// getUserByLogin knows the owners of repositories and the bots of Apps.
func (h *Hub) getUserByLogin(c fakegithub.Call) fakegithub.Answer {
	login := c.PathValue("login")
	if !h.s.HasAccount(login) {
		return *c.Refuse(http.StatusNotFound, "Not Found")
	}
	out := c.ShowUser(login)
	for _, key := range []string{"name", "company", "location", "email", "hireable", "bio"} {
		out[key] = nil
	}
	for _, key := range []string{"public_repos", "public_gists", "followers", "following"} {
		out[key] = 0
	}
	out["blog"], out["created_at"], out["updated_at"] = "", timestamp(h.s.Now()), timestamp(h.s.Now())
	return ok(out)
}

func (h *Hub) routes() {
	h.metaRoutes()
	h.refRoutes()
	h.objectRoutes()
	h.fileRoutes()
	h.pullRoutes()
	h.issueRoutes()
	h.actionsRoutes()
	h.releaseRoutes()
	h.otherRoutes()
	h.forkRoutes()
	h.graphQLRoutes()
	h.storageRoutes()
}

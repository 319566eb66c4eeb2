package fakegithub

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

var notFound = refuse(http.StatusNotFound, "Not Found")

var noContent = answer{status: http.StatusNoContent}

func getApp(c call) answer { return ok(c.showApp(c.app)) }

// getAppBySlug shows a public App to every caller, and a private one only to itself
// (https://docs.github.com/rest/apps/apps#get-an-app).
func getAppBySlug(c call) answer {
	for _, app := range c.s.state.apps {
		isOwn := c.token != nil && c.token.installation.app == app
		if app.Slug == c.r.PathValue("slug") && (app.Public || isOwn) {
			return ok(c.showApp(app))
		}
	}
	return notFound.answer()
}

func listInstallations(c call) answer {
	var mine []*installed
	for _, id := range slices.Sorted(maps.Keys(c.s.state.installations)) {
		if in := c.s.state.installations[id]; in.app == c.app {
			mine = append(mine, in)
		}
	}
	some, header := page(c, mine)
	body := make([]object, 0, len(some))
	for _, in := range some {
		body = append(body, c.showInstallation(in))
	}
	return answer{status: http.StatusOK, body: body, header: header}
}

// installation returns the installation of the path's {id}, if it belongs to the
// caller.
func (c call) installation() *installed {
	in := c.s.state.installations[c.id()]
	if in == nil || in.app != c.app {
		return nil
	}
	return in
}

func getInstallation(c call) answer { return c.showOrNotFound(c.installation()) }

func (c call) showOrNotFound(in *installed) answer {
	if in == nil {
		return notFound.answer()
	}
	return ok(c.showInstallation(in))
}

func deleteInstallation(c call) answer {
	in := c.installation()
	if in == nil {
		return notFound.answer()
	}
	delete(c.s.state.installations, in.id)
	return noContent
}

func suspendInstallation(c call) answer   { return c.setSuspended(c.s.Now()) }
func unsuspendInstallation(c call) answer { return c.setSuspended(time.Time{}) }

func (c call) setSuspended(at time.Time) answer {
	in := c.installation()
	if in == nil {
		return notFound.answer()
	}
	in.suspended = at
	return noContent
}

func organizationInstallation(c call) answer { return c.accountInstallation(Organization) }
func userInstallation(c call) answer         { return c.accountInstallation(User) }

// accountInstallation finds the installation on {login}. GitHub's /users form also
// answers for organizations, but its /orgs form does not answer for users.
func (c call) accountInstallation(kind string) answer {
	acc := c.s.state.accounts[fold(c.r.PathValue("login"))]
	if acc == nil || (kind == Organization && acc.shownKind() != Organization) {
		return notFound.answer()
	}
	return c.showOrNotFound(c.s.state.installationOn(c.app, acc))
}

func repositoryInstallation(c call) answer {
	repo, moved := c.repository()
	if repo == nil {
		return notFound.answer()
	}
	for _, in := range c.s.state.installations {
		if in.app == c.app && in.reaches(repo) {
			if moved {
				return c.movedTo(repo, "/installation")
			}
			return c.showOrNotFound(in)
		}
	}
	return notFound.answer()
}

package fakegithub

import (
	"encoding/base64"
	"fmt"
	"maps"
	"time"
)

// The shapes of GitHub's objects, as its published description has them. What
// the double does not model is there with a value that means nothing.

// epoch is the creation time of everything that records no time of its own.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func nodeID(kind string, id int64) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "0%d:%s%d", len(kind), kind, id))
}

func (c call) api(format string, args ...any) string {
	return "https://" + c.r.Host + c.prefix + fmt.Sprintf(format, args...)
}

func (c call) html(format string, args ...any) string {
	return "https://" + c.s.webHost(c.r.Host) + fmt.Sprintf(format, args...)
}

func (c call) showAccount(a *account) object {
	out := object{
		"login": a.login, "id": a.id, "node_id": nodeID(a.shownKind(), a.id), "type": a.shownKind(),
		"avatar_url": c.html("/avatars/u/%d", a.id), "gravatar_id": "",
		"url": c.api("/users/%s", a.login), "html_url": c.html("/%s", a.login),
		"site_admin": false, "user_view_type": "public",
	}
	for key, suffix := range map[string]string{
		"followers_url": "/followers", "following_url": "/following{/other_user}", "gists_url": "/gists{/gist_id}",
		"starred_url": "/starred{/owner}{/repo}", "subscriptions_url": "/subscriptions", "organizations_url": "/orgs",
		"repos_url": "/repos", "events_url": "/events{/privacy}", "received_events_url": "/received_events",
	} {
		out[key] = c.api("/users/%s%s", a.login, suffix)
	}
	return out
}

func (c call) showApp(app *App) object {
	count := 0
	for _, in := range c.s.state.installations {
		if in.app == app {
			count++
		}
	}
	homepage := app.Homepage
	if homepage == "" {
		homepage = c.html("/%s", app.Owner)
	}
	return object{
		"id": app.ID, "slug": app.Slug, "client_id": app.ClientID, "node_id": nodeID("App", app.ID),
		"owner": c.showAccount(c.s.state.accounts[fold(app.Owner)]),
		"name":  app.Name, "description": app.Description, "external_url": homepage, "html_url": c.html("/apps/%s", app.Slug),
		"created_at": timestamp(epoch), "updated_at": timestamp(epoch),
		"permissions": maps.Clone(app.Permissions), "events": []string{}, "installations_count": count,
	}
}

func (c call) showInstallation(in *installed) object {
	out := object{
		"id": in.id, "client_id": in.app.ClientID, "app_id": in.app.ID, "app_slug": in.app.Slug,
		"account": c.showAccount(in.account), "target_id": in.account.id, "target_type": in.account.shownKind(),
		"repository_selection": in.selection(), "permissions": maps.Clone(in.permissions), "events": []string{},
		"access_tokens_url": c.api("/app/installations/%d/access_tokens", in.id),
		"repositories_url":  c.api("/installation/repositories"),
		"html_url":          c.settingsURL(in),
		"created_at":        timestamp(in.created), "updated_at": timestamp(in.updated),
		"single_file_name": nil, "has_multiple_single_files": false, "single_file_paths": []string{},
		"suspended_at": nil, "suspended_by": nil,
	}
	if !in.suspended.IsZero() {
		out["suspended_at"] = timestamp(in.suspended)
		out["suspended_by"] = c.showAccount(in.account)
	}
	return out
}

func (c call) settingsURL(in *installed) string {
	if in.account.shownKind() == Organization {
		return c.html("/organizations/%s/settings/installations/%d", in.account.login, in.id)
	}
	return c.html("/settings/installations/%d", in.id)
}

func (c call) showRepositories(repos []*Repository, t *issued) []object {
	out := make([]object, 0, len(repos))
	for _, repo := range repos {
		out = append(out, c.showRepository(repo, t))
	}
	return out
}

// repositoryLinks are the URLs of a repository by what follows its own.
var repositoryLinks = map[string]string{
	"archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}", "blobs_url": "/git/blobs{/sha}",
	"branches_url": "/branches{/branch}", "collaborators_url": "/collaborators{/collaborator}", "comments_url": "/comments{/number}",
	"commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}", "contents_url": "/contents/{+path}",
	"contributors_url": "/contributors", "deployments_url": "/deployments", "downloads_url": "/downloads", "events_url": "/events",
	"forks_url": "/forks", "git_commits_url": "/git/commits{/sha}", "git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}",
	"hooks_url": "/hooks", "issue_comment_url": "/issues/comments{/number}", "issue_events_url": "/issues/events{/number}",
	"issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}", "labels_url": "/labels{/name}", "languages_url": "/languages",
	"merges_url": "/merges", "milestones_url": "/milestones{/number}", "notifications_url": "/notifications{?since,all,participating}",
	"pulls_url": "/pulls{/number}", "releases_url": "/releases{/id}", "stargazers_url": "/stargazers", "statuses_url": "/statuses/{sha}",
	"subscribers_url": "/subscribers", "subscription_url": "/subscription", "tags_url": "/tags", "teams_url": "/teams",
	"trees_url": "/git/trees{/sha}", "url": "",
}

func (c call) showRepository(repo *Repository, t *issued) object {
	out := object{
		"id": repo.ID, "node_id": nodeID("Repository", repo.ID), "name": repo.Name, "full_name": repo.FullName(),
		"owner": c.showAccount(c.s.state.accounts[fold(repo.Owner)]), "private": !repo.Public, "visibility": visibility(repo),
		"description": nil, "fork": false, "homepage": nil, "language": nil, "license": nil, "mirror_url": nil, "topics": []string{},
		"html_url": c.html("/%s", repo.FullName()), "clone_url": c.html("/%s.git", repo.FullName()), "svn_url": c.html("/%s", repo.FullName()),
		"git_url": fmt.Sprintf("git://%s/%s.git", c.s.webHost(c.r.Host), repo.FullName()), "ssh_url": fmt.Sprintf("git@%s:%s.git", c.s.webHost(c.r.Host), repo.FullName()),
		"default_branch": defaultBranch, "archived": false, "disabled": false, "is_template": false, "allow_forking": true,
		"has_issues": true, "has_projects": true, "has_wiki": repo.Wiki, "has_pages": false, "has_downloads": true, "has_discussions": false,
		"web_commit_signoff_required": false, "size": 1,
		"created_at": timestamp(repo.Created), "updated_at": timestamp(repo.Created), "pushed_at": timestamp(repo.Created),
		"permissions": rolesOf(t),
	}
	for _, key := range []string{"forks", "forks_count", "open_issues", "open_issues_count", "stargazers_count", "watchers", "watchers_count"} {
		out[key] = 0
	}
	for key, suffix := range repositoryLinks {
		out[key] = c.api("/repos/%s%s", repo.FullName(), suffix)
	}
	return out
}

func (c call) showFullRepository(repo *Repository) object {
	out := c.showRepository(repo, c.token)
	out["network_count"], out["subscribers_count"] = 0, 0
	if acc := c.s.state.accounts[fold(repo.Owner)]; acc.shownKind() == Organization {
		out["organization"] = c.showAccount(acc)
	}
	return out
}

func visibility(repo *Repository) string {
	if repo.Public {
		return "public"
	}
	return "private"
}

// rolesOf expresses an installation's permissions as GitHub expresses a user's.
func rolesOf(t *issued) object {
	may := func(level string) bool { return t != nil && t.allows("contents", level) }
	return object{
		"admin": t != nil && t.allows("administration", "write"), "maintain": false,
		"push": may("write"), "triage": false, "pull": may("read"),
	}
}

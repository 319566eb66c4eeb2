package hub

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// repositoryEntity returns the fields that gh and other clients request of a
// repository. Fields that are not modeled are as in a new repository.
func (r request) repositoryEntity() entity {
	private, made := !r.repo.Public, timestamp(r.repo.Created)
	fields := object{
		"id": fakegithub.NodeID("Repository", r.repo.ID), "databaseId": r.repo.ID, "name": r.repo.Name, "nameWithOwner": r.repo.FullName(),
		"owner": actor(r.Call, r.repo.Owner), "url": r.html(""), "resourcePath": "/" + r.repo.FullName(), "sshUrl": "git@" + r.Host + ":" + r.repo.FullName() + ".git",
		"isPrivate": private, "visibility": map[bool]string{true: "PRIVATE", false: "PUBLIC"}[private], "createdAt": made, "updatedAt": made, "pushedAt": made,
		"viewerPermission": r.role(), "viewerCanAdminister": r.Allows(r.repo, "administration", "write"), "viewerDefaultMergeMethod": "MERGE",
		"isInOrganization": r.ShowUser(r.repo.Owner)["type"] == fakegithub.Organization, "diskUsage": 1, "forkCount": 0, "stargazerCount": 0,
		"openGraphImageUrl": r.html("/image.png"), "securityPolicyUrl": r.html("/security/policy"),
		"watchers": empty("UserConnection"), "labels": connection("LabelConnection", func() []entity { return entities(r.st.labels, func(l label) entity { return r.labelEntity(l.name) }) }), "milestones": empty("MilestoneConnection"), "projects": empty("ProjectConnection"),
		"projectsV2": empty("ProjectV2Connection"), "languages": empty("LanguageConnection"), "repositoryTopics": empty("RepositoryTopicConnection"),
		"assignableUsers": empty("UserConnection"), "mentionableUsers": empty("UserConnection"),
		"issueTemplates": []any{}, "pullRequestTemplates": []any{}, "contactLinks": []any{}, "fundingLinks": []any{}, "viewerPossibleCommitEmails": []any{},

		"defaultBranchRef": r.guarded("contents:read", func(object) (any, *failure) { return r.refEntity("refs/heads/main"), nil }),
		"ref":              r.guarded("contents:read", r.refNamed),
		"refs":             r.guarded("contents:read", r.refsBelow),
		"object":           r.guarded("contents:read", r.gitObject),
		"release":          r.guarded("contents:read", r.releaseTagged),
		"latestRelease":    r.guarded("contents:read", func(object) (any, *failure) { return r.latest(), nil }),
		"releases": r.guarded("contents:read", connection("ReleaseConnection", func() []entity {
			return entities(newestFirst(r.st.releases), r.releaseEntity)
		})),
		"issue":              r.guarded("issues:read", func(a object) (any, *failure) { return r.issueNumbered(a, "Issue") }),
		"pullRequest":        r.guarded("pull_requests:read", func(a object) (any, *failure) { return r.issueNumbered(a, "PullRequest") }),
		"issueOrPullRequest": r.guarded("issues:read|pull_requests:read", func(a object) (any, *failure) { return r.issueNumbered(a, "") }),
		"issues":             r.guarded("issues:read", r.issuesOf),
		"pullRequests":       r.guarded("pull_requests:read", r.pullsOf),
	}
	for _, key := range []string{"hasIssuesEnabled", "hasProjectsEnabled", "hasWikiEnabled", "mergeCommitAllowed", "squashMergeAllowed", "rebaseMergeAllowed", "autoMergeAllowed", "isBlankIssuesEnabled", "forkingAllowed"} {
		fields[key] = true
	}
	for _, key := range []string{"hasDiscussionsEnabled", "deleteBranchOnMerge", "isArchived", "isEmpty", "isFork", "isMirror", "isTemplate", "isLocked", "isDisabled", "isSecurityPolicyEnabled", "isUserConfigurationRepository", "viewerHasStarred", "usesCustomOpenGraphImage", "allowUpdateBranch", "webCommitSignoffRequired"} {
		fields[key] = false
	}
	for _, key := range []string{"description", "homepageUrl", "mirrorUrl", "parent", "templateRepository", "licenseInfo", "codeOfConduct", "primaryLanguage", "archivedAt", "viewerDefaultCommitEmail", "viewerSubscription", "milestone", "lockReason"} {
		fields[key] = nil
	}
	return entity{"Repository", fields}
}

// role expresses the token's permissions as GitHub expresses a user's.
func (r request) role() string {
	switch {
	case r.Allows(r.repo, "administration", "write"):
		return "ADMIN"
	case r.Allows(r.repo, "contents", "write"):
		return "WRITE"
	}
	return "READ"
}

// issueNumbered finds an issue or a pull request; kind "" means either.
func (r request) issueNumbered(args object, kind string) (any, *failure) {
	n, _ := number(args, "number")
	i := r.st.find(n)
	switch {
	case i == nil, kind == "Issue" && i.pull != nil, kind == "PullRequest" && i.pull == nil:
		if kind == "" {
			kind = "issue or pull request"
		}
		return nil, notFound("Could not resolve to a %s with the number of %d.", kind, n)
	case i.pull != nil:
		r.refresh(i)
		return r.pullEntity(i), nil
	}
	return r.issueEntity(i), nil
}

func (r request) issuesOf(args object) (any, *failure) {
	list := slices.DeleteFunc(r.st.ordered(args), func(i *issue) bool { return i.pull != nil || !stateIn(args, i) || !r.filtered(args, i) })
	return connection("IssueConnection", func() []entity { return entities(list, r.issueEntity) })(args)
}

func (r request) pullsOf(args object) (any, *failure) {
	list := slices.DeleteFunc(r.st.ordered(args), func(i *issue) bool {
		if i.pull == nil {
			return true
		}
		r.refresh(i)
		head, base := text(args, "headRefName"), text(args, "baseRefName")
		return !stateIn(args, i) || head != "" && head != i.pull.head || base != "" && base != i.pull.base
	})
	return connection("PullRequestConnection", func() []entity { return entities(list, r.pullEntity) })(args)
}

// ordered returns issues in the order that a query requests: oldest first by default.
func (st *repository) ordered(args object) []*issue {
	if by, is := args["orderBy"].(object); is && text(by, "direction") == "DESC" {
		return newestFirst(st.issues)
	}
	return slices.Clone(st.issues)
}

// filtered reports whether an issue matches the filters of gh's issue list.
func (r request) filtered(args object, i *issue) bool {
	by, _ := args["filterBy"].(object)
	if login := text(by, "createdBy"); login != "" && !strings.EqualFold(strings.TrimSuffix(i.author, "[bot]"), strings.TrimSuffix(login, "[bot]")) {
		return false
	}
	return text(by, "assignee") == "" && text(by, "mentioned") == ""
}

func stateIn(args object, i *issue) bool {
	states, _ := args["states"].([]any)
	return len(states) == 0 || slices.Contains(states, any(i.graphState()))
}

func (i *issue) graphState() string {
	if i.pull != nil && !i.pull.merged.IsZero() {
		return "MERGED"
	}
	return strings.ToUpper(i.state())
}

func entities[T any](list []T, show func(T) entity) []entity {
	out := make([]entity, 0, len(list))
	for _, item := range list {
		out = append(out, show(item))
	}
	return out
}

// shared returns the fields that issues and pull requests have in common.
func (r request) shared(kind string, i *issue) object {
	out := object{
		"id": nodeID(kind, r.repo.ID, strconv.Itoa(i.number)), "number": i.number, "databaseId": i.id, "fullDatabaseId": strconv.FormatInt(i.id, 10),
		"title": i.title, "body": i.body, "bodyText": i.body, "state": i.graphState(), "closed": !i.open(), "closedAt": maybe(i.closed), "createdAt": timestamp(i.created), "updatedAt": timestamp(i.updated),
		"url": r.page(i), "resourcePath": strings.TrimPrefix(r.page(i), r.HTML("")), "author": actor(r.Call, i.author), "authorAssociation": "NONE", "locked": false, "activeLockReason": nil,
		"repository": lazy(func(object) (any, *failure) { return r.repositoryEntity(), nil }), "milestone": nil, "isReadByViewer": true, "viewerDidAuthor": i.author == r.Bot(),
		"reactionGroups": []any{}, "assignees": empty("UserConnection"), "assignedActors": empty("AssigneeConnection"), "projectCards": empty("ProjectCardConnection"), "projectItems": empty("ProjectV2ItemConnection"),
		"labels":   connection("LabelConnection", func() []entity { return entities(i.labels, r.labelEntity) }),
		"comments": connection("IssueCommentConnection", func() []entity { return entities(i.comments, func(c *comment) entity { return r.commentEntity(i, c) }) }),
	}
	return out
}

func (r request) issueEntity(i *issue) entity {
	fields := r.shared("I", i)
	fields["stateReason"] = orNull(strings.ToUpper(i.reason))
	fields["isPinned"], fields["parent"], fields["issueType"] = false, nil, nil
	fields["subIssues"], fields["blockedBy"], fields["blocking"] = empty("IssueConnection"), empty("IssueConnection"), empty("IssueConnection")
	fields["subIssuesSummary"] = entity{"SubIssuesSummary", object{"total": 0, "completed": 0, "percentCompleted": 0}}
	fields["closedByPullRequestsReferences"] = empty("PullRequestConnection")
	fields["linkedBranches"] = connection("LinkedBranchConnection", func() []entity { return entities(i.branches, r.linkedBranch) })
	return entity{"Issue", fields}
}

func (r request) linkedBranch(name string) entity {
	return entity{"LinkedBranch", object{"id": nodeID("LB", r.repo.ID, name), "ref": r.refEntity("refs/heads/" + name)}}
}

func (r request) commentEntity(i *issue, c *comment) entity {
	return entity{"IssueComment", object{
		"id": nodeID("IC", r.repo.ID, strconv.FormatInt(c.id, 10)), "databaseId": c.id, "fullDatabaseId": strconv.FormatInt(c.id, 10), "author": actor(r.Call, c.author),
		"authorAssociation": "NONE", "body": c.body, "bodyText": c.body, "createdAt": timestamp(c.created), "updatedAt": timestamp(c.updated), "includesCreatedEdit": false,
		"isMinimized": false, "minimizedReason": nil, "reactionGroups": []any{}, "url": commentPage(r, i, c), "viewerDidAuthor": c.author == r.Bot(),
	}}
}

func (r request) releaseTagged(args object) (any, *failure) {
	for _, x := range r.st.releases {
		if x.tag == text(args, "tagName") {
			return r.releaseEntity(x), nil
		}
	}
	return nil, nil
}

func (r request) latest() any {
	if x := r.st.latest(); x != nil {
		return r.releaseEntity(x)
	}
	return nil
}

func (r request) releaseEntity(x *release) entity {
	return entity{"Release", object{
		"id": nodeID("RE", r.repo.ID, strconv.FormatInt(x.id, 10)), "databaseId": x.id, "name": x.name, "tagName": x.tag, "description": x.body,
		"createdAt": timestamp(x.created), "publishedAt": maybe(x.published), "isDraft": x.draft, "isPrerelease": x.prerelease, "isLatest": x == r.st.latest(),
		"url": r.html("/releases/tag/%s", x.tag), "author": actor(r.Call, x.author), "tagCommit": nil,
	}}
}

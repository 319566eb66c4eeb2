package hub

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (h *Hub) issueRoutes() {
	const either = "|pull_requests:"
	h.in("GET", "/issues", "issues:read", listIssues)
	h.in("POST", "/issues", "issues:write", postIssue)
	h.in("GET", "/issues/{number}", "issues:read"+either+"read", getIssue)
	h.in("PATCH", "/issues/{number}", "issues:write"+either+"write", patchIssue)
	h.in("GET", "/issues/{number}/comments", "issues:read"+either+"read", listComments)
	h.in("POST", "/issues/{number}/comments", "issues:write"+either+"write", postComment)
	h.in("POST", "/issues/{number}/labels", "issues:write"+either+"write", postLabels)
}

func listIssues(r request) fakegithub.Answer {
	list := slices.DeleteFunc(newestFirst(r.st.issues), func(i *issue) bool { return !inState(i, r.URL.Query().Get("state")) })
	return listed(r, list, r.showIssue)
}

func postIssue(r request) fakegithub.Answer {
	var in struct {
		Title, Body       string
		Labels, Assignees []string
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if in.Title == "" {
		return r.failed(invalid("Issue", "title", "missing_field", ""))
	}
	i := r.newIssue(in.Title, in.Body)
	r.mark(i, in.Labels)
	a := created(r.showIssue(i))
	a.Header = http.Header{"Location": {r.api("/issues/%d", i.number)}}
	return a
}

func getIssue(r request) fakegithub.Answer {
	i := r.st.find(r.number())
	if i == nil {
		return r.notFound()
	}
	return ok(r.showIssue(i))
}

func patchIssue(r request) fakegithub.Answer {
	i := r.st.find(r.number())
	if i == nil {
		return r.notFound()
	}
	var in struct {
		Title, Body, State *string
		StateReason        string `json:"state_reason"`
		Labels             *[]string
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	r.rewrite(i, in.Title, in.Body, in.State)
	if in.Labels != nil {
		i.labels = nil
		r.mark(i, *in.Labels)
	}
	return ok(r.showIssue(i))
}

func listComments(r request) fakegithub.Answer {
	i := r.st.find(r.number())
	if i == nil {
		return r.notFound()
	}
	return listed(r, i.comments, func(c *comment) object { return r.showComment(i, c) })
}

func postComment(r request) fakegithub.Answer {
	i := r.st.find(r.number())
	if i == nil {
		return r.notFound()
	}
	var in struct{ Body string }
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if in.Body == "" {
		return r.failed(invalid("IssueComment", "body", "missing_field", ""))
	}
	c := r.comment(i, in.Body)
	a := created(r.showComment(i, c))
	a.Header = http.Header{"Location": {r.api("/issues/comments/%d", c.id)}}
	return a
}

func postLabels(r request) fakegithub.Answer {
	i := r.st.find(r.number())
	if i == nil {
		return r.notFound()
	}
	var in struct{ Labels []string }
	if no := r.Decode(&in); no != nil {
		return *no
	}
	r.mark(i, in.Labels)
	return ok(showAll(i.labels, r.showLabel))
}

// page returns the URL of the page of an issue or pull request.
func (r request) page(i *issue) string {
	if i.pull != nil {
		return r.html("/pull/%d", i.number)
	}
	return r.html("/issues/%d", i.number)
}

func (r request) showIssue(i *issue) object {
	self := r.api("/issues/%d", i.number)
	out := object{
		"url": self, "html_url": r.page(i), "repository_url": r.api(""), "labels_url": self + "/labels{/name}", "comments_url": self + "/comments",
		"events_url": self + "/events", "timeline_url": self + "/timeline", "id": i.id, "node_id": nodeID("I", r.repo.ID, strconv.Itoa(i.number)),
		"number": i.number, "title": i.title, "body": orNull(i.body), "user": r.user(i.author), "labels": showAll(i.labels, r.showLabel),
		"state": i.state(), "state_reason": orNull(i.reason), "locked": false, "assignee": nil, "assignees": []object{}, "milestone": nil,
		"comments": len(i.comments), "created_at": timestamp(i.created), "updated_at": timestamp(i.updated), "closed_at": maybe(i.closed),
		"closed_by": nil, "author_association": "NONE", "active_lock_reason": nil, "performed_via_github_app": nil,
	}
	if i.pull != nil {
		pull, shown := r.api("/pulls/%d", i.number), r.page(i)
		out["node_id"] = nodeID("PR", r.repo.ID, strconv.Itoa(i.number))
		out["draft"] = i.pull.draft
		out["pull_request"] = object{
			"url": pull, "html_url": shown, "diff_url": shown + ".diff", "patch_url": shown + ".patch", "merged_at": maybe(i.pull.merged),
		}
	}
	return out
}

func (r request) showComment(i *issue, c *comment) object {
	return object{
		"id": c.id, "node_id": nodeID("IC", r.repo.ID, strconv.FormatInt(c.id, 10)), "url": r.api("/issues/comments/%d", c.id),
		"html_url": commentPage(r, i, c), "issue_url": r.api("/issues/%d", i.number), "body": c.body, "user": r.user(c.author),
		"created_at": timestamp(c.created), "updated_at": timestamp(c.updated), "author_association": "NONE", "performed_via_github_app": nil,
	}
}

func commentPage(r request, i *issue, c *comment) string {
	return r.page(i) + "#issuecomment-" + strconv.FormatInt(c.id, 10)
}

package hub

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (h *Hub) pullRoutes() {
	h.in("GET", "/pulls", "pull_requests:read", listPulls)
	h.in("POST", "/pulls", "pull_requests:write", postPull)
	h.in("GET", "/pulls/{number}", "pull_requests:read", getPull)
	h.in("PATCH", "/pulls/{number}", "pull_requests:write", patchPull)
	h.in("GET", "/pulls/{number}/commits", "pull_requests:read", pullCommits)
	h.in("PUT", "/pulls/{number}/merge", "contents:write", putMerge)
	h.in("PUT", "/pulls/{number}/update-branch", "pull_requests:write,contents:write", putUpdateBranch)
}

func (r request) number() int {
	n, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		return 0
	}
	return n
}

func listPulls(r request) fakegithub.Answer {
	q := r.URL.Query()
	list := slices.DeleteFunc(newestFirst(r.st.pulls()), func(i *issue) bool {
		r.refresh(i)
		return !inState(i, q.Get("state")) || q.Get("base") != "" && q.Get("base") != i.pull.base ||
			q.Get("head") != "" && r.ownBranch(q.Get("head")) != i.pull.head
	})
	return listed(r, list, r.showPull)
}

// inState reports whether an issue is in the requested state; "" means open.
func inState(i *issue, state string) bool {
	return state == "all" || i.state() == state || state == "" && i.open()
}

func postPull(r request) fakegithub.Answer {
	var in struct {
		Title, Body, Head, Base string
		HeadRepo                string `json:"head_repo"`
		Draft                   bool
		MaintainerCanModify     bool `json:"maintainer_can_modify"`
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	i, f := r.createPull(in.Title, in.Body, in.Head, in.Base, in.Draft)
	if f != nil {
		return r.failed(f)
	}
	a := created(r.showFullPull(i))
	a.Header = http.Header{"Location": {r.api("/pulls/%d", i.number)}}
	return a
}

// getPull answers with JSON, or with a diff or patch if the request accepts that.
func getPull(r request) fakegithub.Answer {
	i := r.st.pullRequest(r.number())
	if i == nil {
		return r.notFound()
	}
	r.refresh(i)
	span := i.pull.baseSHA + "..." + i.pull.headSHA
	switch accept := r.Header.Get("Accept"); {
	case strings.Contains(accept, "diff"):
		return r.text("application/vnd.github.v3.diff; charset=utf-8", "diff", span)
	case strings.Contains(accept, "patch"):
		return r.text("application/vnd.github.v3.patch; charset=utf-8", "format-patch", "--stdout", span)
	}
	return ok(r.showFullPull(i))
}

func (r request) text(kind string, args ...string) fakegithub.Answer {
	out, err := r.git().run(args...)
	if err != nil {
		return r.notFound()
	}
	return ok(fakegithub.Text{Type: kind, Text: []byte(out + "\n")})
}

func patchPull(r request) fakegithub.Answer {
	i := r.st.pullRequest(r.number())
	if i == nil {
		return r.notFound()
	}
	var in struct{ Title, Body, State, Base *string }
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if in.Base != nil {
		if r.git().branch(*in.Base) == "" {
			return r.failed(invalid("PullRequest", "base", "invalid", ""))
		}
		i.pull.base = *in.Base
		r.refresh(i)
	}
	r.rewrite(i, in.Title, in.Body, in.State)
	return ok(r.showFullPull(i))
}

// rewrite changes the fields that issues and pull requests share; nil leaves a field
// unchanged.
func (r request) rewrite(i *issue, title, body, state *string) {
	if title != nil {
		i.title = *title
	}
	if body != nil {
		i.body = *body
	}
	switch {
	case state != nil && *state == "closed" && i.open():
		r.close(i, "completed")
	case state != nil && *state == "open" && (i.pull == nil || i.pull.merged.IsZero()):
		i.closed, i.reason = time.Time{}, ""
	}
	i.updated = r.h.s.Now()
}

func pullCommits(r request) fakegithub.Answer {
	i := r.st.pullRequest(r.number())
	if i == nil {
		return r.notFound()
	}
	r.refresh(i)
	return listed(r, r.git().commits(i.pull.baseSHA, i.pull.headSHA), r.showCommit)
}

func putMerge(r request) fakegithub.Answer {
	i := r.st.pullRequest(r.number())
	if i == nil {
		return r.notFound()
	}
	in := struct {
		CommitTitle   string `json:"commit_title"`
		CommitMessage string `json:"commit_message"`
		SHA           string
		MergeMethod   string `json:"merge_method"`
	}{MergeMethod: "merge"}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if f := r.mergePull(i, in.SHA, in.MergeMethod, in.CommitTitle, in.CommitMessage); f != nil {
		return r.failed(f)
	}
	return ok(object{"sha": i.pull.mergeSHA, "merged": true, "message": "Pull Request successfully merged"})
}

func putUpdateBranch(r request) fakegithub.Answer {
	i := r.st.pullRequest(r.number())
	if i == nil {
		return r.notFound()
	}
	var in struct {
		Expected string `json:"expected_head_sha"`
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if f := r.updatePull(i, in.Expected); f != nil {
		return r.failed(f)
	}
	return fakegithub.Answer{
		Status: http.StatusAccepted,
		Body:   object{"message": "Updating pull request branch.", "url": r.html("/pull/%d", i.number)},
	}
}

func (r request) showPull(i *issue) object {
	self, shown := r.api("/pulls/%d", i.number), r.html("/pull/%d", i.number)
	comments := r.api("/issues/%d/comments", i.number)
	links := object{
		"self": self, "html": shown, "issue": r.api("/issues/%d", i.number), "comments": comments, "review_comments": self + "/comments",
		"review_comment": r.api("/pulls/comments{/number}"), "commits": self + "/commits", "statuses": r.api("/statuses/%s", i.pull.headSHA),
	}
	out := object{
		"url": self, "html_url": shown, "diff_url": shown + ".diff", "patch_url": shown + ".patch", "issue_url": links["issue"],
		"comments_url": comments, "review_comments_url": links["review_comments"], "review_comment_url": links["review_comment"],
		"commits_url": links["commits"], "statuses_url": links["statuses"], "_links": object{},
		"id": i.id, "node_id": nodeID("PR", r.repo.ID, strconv.Itoa(i.number)), "number": i.number, "state": i.state(), "locked": false,
		"title": i.title, "user": r.user(i.author), "body": orNull(i.body), "labels": showAll(i.labels, r.showLabel), "milestone": nil,
		"created_at": timestamp(i.created), "updated_at": timestamp(i.updated), "closed_at": maybe(i.closed), "merged_at": maybe(i.pull.merged),
		"merge_commit_sha": orNull(i.pull.mergeSHA), "assignee": nil, "assignees": []object{}, "requested_reviewers": []object{}, "requested_teams": []object{},
		"head": r.showEnd(i.pull.head, i.pull.headSHA), "base": r.showEnd(i.pull.base, i.pull.baseSHA),
		"author_association": "NONE", "auto_merge": r.showAutoMerge(i), "active_lock_reason": nil, "draft": i.pull.draft,
	}
	for name, url := range links {
		out["_links"].(object)[name] = object{"href": url}
	}
	return out
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (r request) showEnd(branch, sha string) object {
	return object{
		"label": r.repo.Owner + ":" + branch, "ref": branch, "sha": sha, "user": r.ShowUser(r.repo.Owner),
		"repo": r.ShowRepository(r.repo, false),
	}
}

func (r request) showAutoMerge(i *issue) any {
	if i.pull.autoMerge == "" {
		return nil
	}
	return object{"enabled_by": r.ShowUser(i.pull.autoCall.Bot()), "merge_method": i.pull.autoMerge, "commit_title": nil, "commit_message": nil}
}

func (r request) showFullPull(i *issue) object {
	out := r.showPull(i)
	commits := r.git().commits(i.pull.baseSHA, i.pull.headSHA)
	added, removed, files := r.diffStat(i)
	out["merged"], out["merged_by"], out["mergeable"], out["rebaseable"] = !i.pull.merged.IsZero(), r.user(i.pull.mergedBy), nil, nil
	out["mergeable_state"], out["comments"], out["review_comments"] = "unknown", len(i.comments), 0
	if i.open() {
		can := r.mergeable(i)
		out["mergeable"], out["rebaseable"] = can, can
		out["mergeable_state"] = map[bool]string{true: "clean", false: "dirty"}[can]
	}
	out["maintainer_can_modify"], out["commits"] = false, len(commits)
	out["additions"], out["deletions"], out["changed_files"] = added, removed, files
	return out
}

// diffStat counts the lines and files that a pull request changes.
func (r request) diffStat(i *issue) (added, removed, files int) {
	out, err := r.git().run("diff", "--numstat", i.pull.baseSHA+"..."+i.pull.headSHA)
	if err != nil {
		return 0, 0, 0
	}
	for line := range strings.Lines(out) {
		var a, d int
		_, _ = fmt.Sscan(line, &a, &d)
		added, removed, files = added+a, removed+d, files+1
	}
	return added, removed, files
}

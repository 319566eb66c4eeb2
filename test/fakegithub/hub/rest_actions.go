package hub

import (
	"net/http"
	"path"
	"slices"
	"strconv"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (h *Hub) actionsRoutes() {
	h.in("GET", "/actions/runs", "actions:read", listRuns)
	h.in("GET", "/actions/runs/{run}", "actions:read", ofRun(func(r request, x *run) fakegithub.Answer { return ok(r.showRun(x)) }))
	h.in("GET", "/actions/runs/{run}/jobs", "actions:read", ofRun(listJobs))
	h.in("GET", "/actions/runs/{run}/logs", "actions:read", ofRun(func(r request, x *run) fakegithub.Answer { return r.redirect(x.logs) }))
	h.in("GET", "/actions/runs/{run}/attempts/{attempt}", "actions:read", ofRun(func(r request, x *run) fakegithub.Answer { return ok(r.showRun(x)) }))
	h.in("GET", "/actions/runs/{run}/attempts/{attempt}/jobs", "actions:read", ofRun(listJobs))
	h.in("GET", "/actions/runs/{run}/attempts/{attempt}/logs", "actions:read", ofRun(func(r request, x *run) fakegithub.Answer { return r.redirect(x.logs) }))
	h.in("GET", "/actions/runs/{run}/artifacts", "actions:read", ofRun(func(r request, x *run) fakegithub.Answer { return r.artifacts(x.artifacts) }))
	h.in("GET", "/actions/jobs/{job}", "actions:read", ofJob(func(r request, x *run, j *job) fakegithub.Answer { return ok(r.showJob(x, j)) }))
	h.in("GET", "/actions/jobs/{job}/logs", "actions:read", ofJob(func(r request, _ *run, j *job) fakegithub.Answer { return r.redirect(j.log) }))
	h.in("GET", "/actions/artifacts", "actions:read", func(r request) fakegithub.Answer { return r.artifacts(r.st.artifacts) })
	h.in("GET", "/actions/artifacts/{artifact}/zip", "actions:read", downloadArtifact)
	h.in("GET", "/actions/workflows", "actions:read", listWorkflows)
	h.in("GET", "/actions/workflows/{workflow}", "actions:read", ofWorkflow(func(r request, w *workflow) fakegithub.Answer { return ok(r.showWorkflow(w)) }))
	h.in("GET", "/actions/workflows/{workflow}/runs", "actions:read", ofWorkflow(func(r request, w *workflow) fakegithub.Answer {
		return r.runs(slices.DeleteFunc(newestFirst(r.st.runs), func(x *run) bool { return x.workflow != w }))
	}))
	h.in("POST", "/actions/workflows/{workflow}/dispatches", "actions:write", ofWorkflow(dispatch))
	h.in("GET", "/check-runs/{check}/annotations", "checks:read", func(r request) fakegithub.Answer { return ok([]object{}) })
}

func (r request) pathID(name string) int64 {
	n, err := strconv.ParseInt(r.PathValue(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func ofRun(do func(request, *run) fakegithub.Answer) handler {
	return func(r request) fakegithub.Answer {
		for _, x := range r.st.runs {
			if x.id == r.pathID("run") && (r.PathValue("attempt") == "" || r.PathValue("attempt") == "1") {
				return do(r, x)
			}
		}
		return r.notFound()
	}
}

func ofJob(do func(request, *run, *job) fakegithub.Answer) handler {
	return func(r request) fakegithub.Answer {
		for _, x := range r.st.runs {
			for _, j := range x.jobs {
				if j.id == r.pathID("job") {
					return do(r, x, j)
				}
			}
		}
		return r.notFound()
	}
}

// ofWorkflow finds a workflow by its ID or its file name.
func ofWorkflow(do func(request, *workflow) fakegithub.Answer) handler {
	return func(r request) fakegithub.Answer {
		for _, w := range r.st.workflows {
			if w.id == r.pathID("workflow") || path.Base(w.path) == r.PathValue("workflow") {
				return do(r, w)
			}
		}
		return r.notFound()
	}
}

func listRuns(r request) fakegithub.Answer {
	q := r.URL.Query()
	return r.runs(slices.DeleteFunc(newestFirst(r.st.runs), func(x *run) bool {
		return q.Get("branch") != "" && q.Get("branch") != x.branch || q.Get("head_sha") != "" && q.Get("head_sha") != x.sha
	}))
}

func (r request) runs(list []*run) fakegithub.Answer {
	some, header := fakegithub.Page(r.Call, list)
	return fakegithub.Answer{Status: http.StatusOK, Header: header, Body: object{"total_count": len(list), "workflow_runs": showAll(some, r.showRun)}}
}

func listJobs(r request, x *run) fakegithub.Answer {
	some, header := fakegithub.Page(r.Call, x.jobs)
	return fakegithub.Answer{Status: http.StatusOK, Header: header, Body: object{
		"total_count": len(x.jobs), "jobs": showAll(some, func(j *job) object { return r.showJob(x, j) }),
	}}
}

func (r request) artifacts(list []*artifact) fakegithub.Answer {
	if name := r.URL.Query().Get("name"); name != "" {
		list = slices.DeleteFunc(slices.Clone(list), func(a *artifact) bool { return a.name != name })
	}
	some, header := fakegithub.Page(r.Call, list)
	return fakegithub.Answer{Status: http.StatusOK, Header: header, Body: object{"total_count": len(list), "artifacts": showAll(some, r.showArtifact)}}
}

func downloadArtifact(r request) fakegithub.Answer {
	for _, a := range r.st.artifacts {
		if a.id == r.pathID("artifact") {
			return r.redirect(a.file)
		}
	}
	return r.notFound()
}

func listWorkflows(r request) fakegithub.Answer {
	some, header := fakegithub.Page(r.Call, r.st.workflows)
	return fakegithub.Answer{Status: http.StatusOK, Header: header, Body: object{
		"total_count": len(r.st.workflows), "workflows": showAll(some, r.showWorkflow),
	}}
}

func dispatch(r request, w *workflow) fakegithub.Answer {
	var in struct {
		Ref    string
		Inputs map[string]any
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	sha := r.git().commit(in.Ref)
	switch {
	case sha == "":
		return r.failed(unprocessable("No ref found for: %s", in.Ref))
	case !w.dispatches:
		return r.failed(unprocessable("Workflow does not have 'workflow_dispatch' trigger"))
	}
	r.st.runs = append(r.st.runs, &run{
		id: r.h.s.NextID(), number: len(r.st.runs) + 1, workflow: w, event: "workflow_dispatch", branch: in.Ref, sha: sha, actor: r.Bot(), created: r.h.s.Now(),
	})
	return noContent
}

func (r request) showWorkflow(w *workflow) object {
	self := r.api("/actions/workflows/%d", w.id)
	return object{
		"id": w.id, "node_id": nodeID("W", r.repo.ID, w.name), "name": w.name, "path": w.path, "state": "active", "url": self,
		"html_url": r.html("/blob/main/%s", w.path), "badge_url": r.html("/workflows/%s/badge.svg", w.name),
		"created_at": timestamp(r.repo.Created), "updated_at": timestamp(r.repo.Created),
	}
}

func (r request) showRun(x *run) object {
	self := r.api("/actions/runs/%d", x.id)
	c, _ := r.git().read(x.sha)
	suite := x.id + 1_000_000_000
	return object{
		"id": x.id, "node_id": nodeID("WFR", r.repo.ID, strconv.FormatInt(x.id, 10)), "name": x.workflow.name, "display_title": c.headline(),
		"head_branch": x.branch, "head_sha": x.sha, "run_number": x.number, "run_attempt": 1, "event": x.event, "path": x.workflow.path,
		"status": "completed", "conclusion": "success", "workflow_id": x.workflow.id, "pull_requests": []object{},
		"check_suite_id": suite, "check_suite_node_id": nodeID("CS", r.repo.ID, strconv.FormatInt(suite, 10)), "referenced_workflows": []object{},
		"url": self, "html_url": r.html("/actions/runs/%d", x.id), "jobs_url": self + "/jobs", "logs_url": self + "/logs", "artifacts_url": self + "/artifacts",
		"check_suite_url": r.api("/check-suites/%d", suite), "cancel_url": self + "/cancel", "rerun_url": self + "/rerun", "previous_attempt_url": nil,
		"workflow_url": r.api("/actions/workflows/%d", x.workflow.id), "actor": r.user(x.actor), "triggering_actor": r.user(x.actor),
		"created_at": timestamp(x.created), "updated_at": timestamp(x.created), "run_started_at": timestamp(x.created),
		"head_commit": object{
			"id": x.sha, "tree_id": c.tree, "message": c.message, "timestamp": c.committer.Date,
			"author":    object{"name": c.author.Name, "email": c.author.Email},
			"committer": object{"name": c.committer.Name, "email": c.committer.Email},
		},
		"repository": r.showMinimal(), "head_repository": r.showMinimal(),
	}
}

// showMinimal returns the repository as Actions show it: without its settings.
func (r request) showMinimal() object {
	out := object{}
	full := r.ShowRepository(r.repo, false)
	for _, key := range minimalKeys {
		out[key] = full[key]
	}
	return out
}

var minimalKeys = []string{
	"id", "node_id", "name", "full_name", "owner", "private", "html_url", "description", "fork", "url", "archive_url", "assignees_url",
	"blobs_url", "branches_url", "collaborators_url", "comments_url", "commits_url", "compare_url", "contents_url", "contributors_url",
	"deployments_url", "downloads_url", "events_url", "forks_url", "git_commits_url", "git_refs_url", "git_tags_url", "hooks_url",
	"issue_comment_url", "issue_events_url", "issues_url", "keys_url", "labels_url", "languages_url", "merges_url", "milestones_url",
	"notifications_url", "pulls_url", "releases_url", "stargazers_url", "statuses_url", "subscribers_url", "subscription_url", "tags_url",
	"teams_url", "trees_url",
}

func (r request) showJob(x *run, j *job) object {
	at := timestamp(x.created)
	steps := []object{}
	for n, name := range j.steps {
		steps = append(steps, object{"name": name, "number": n + 1, "status": "completed", "conclusion": "success", "started_at": at, "completed_at": at})
	}
	return object{
		"id": j.id, "node_id": nodeID("CR", r.repo.ID, strconv.FormatInt(j.id, 10)), "run_id": x.id, "run_url": r.api("/actions/runs/%d", x.id), "run_attempt": 1,
		"name": j.name, "workflow_name": x.workflow.name, "head_branch": x.branch, "head_sha": x.sha, "status": "completed", "conclusion": "success",
		"url": r.api("/actions/jobs/%d", j.id), "html_url": r.html("/actions/runs/%d/job/%d", x.id, j.id), "check_run_url": r.api("/check-runs/%d", j.id),
		"created_at": at, "started_at": at, "completed_at": at, "steps": steps, "labels": []string{"ubuntu-latest"},
		"runner_id": 1, "runner_name": "GitHub Actions 1", "runner_group_id": 0, "runner_group_name": "GitHub Actions",
	}
}

func (r request) showArtifact(a *artifact) object {
	self := r.api("/actions/artifacts/%d", a.id)
	return object{
		"id": a.id, "node_id": nodeID("A", r.repo.ID, strconv.FormatInt(a.id, 10)), "name": a.name, "size_in_bytes": a.size, "url": self,
		"archive_download_url": self + "/zip", "expired": false,
		"created_at": timestamp(a.created), "updated_at": timestamp(a.created), "expires_at": timestamp(a.created.AddDate(0, 3, 0)),
		"workflow_run": object{"id": a.run.id, "repository_id": r.repo.ID, "head_repository_id": r.repo.ID, "head_branch": a.run.branch, "head_sha": a.run.sha},
	}
}

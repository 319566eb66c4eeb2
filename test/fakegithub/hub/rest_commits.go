package hub

import (
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (h *Hub) commitRoutes() {
	h.in("GET", "/commits", "contents:read", listCommits)
	h.in("GET", "/commits/{ref}/status", "statuses:read", commitStatus)
	h.in("GET", "/commits/{ref}/check-runs", "checks:read", commitChecks)
	h.in("GET", "/compare/{span...}", "contents:read", compare)
	h.in("GET", "/tags", "contents:read", listTags)
	h.s.Handle("GET /search/issues", h.searchIssues)
}

func listCommits(r request) fakegithub.Answer {
	from := r.URL.Query().Get("sha")
	if from == "" {
		from = "main"
	}
	sha := r.git().commit(from)
	if sha == "" {
		return r.notFound()
	}
	args := []string{"rev-list", sha, "--"}
	if path := r.URL.Query().Get("path"); path != "" {
		args = append(args, ":(literal)"+path)
	}
	out, _ := r.git().run(args...)
	return listed(r, strings.Fields(out), r.showCommit)
}

// compare answers BASE...HEAD.
func compare(r request) fakegithub.Answer {
	from, to, _ := strings.Cut(r.PathValue("span"), "...")
	b := r.git()
	base, head := b.commit(r.ownBranch(from)), b.commit(r.ownBranch(to))
	if base == "" || head == "" {
		return r.notFound()
	}
	common, _ := b.run("merge-base", base, head)
	ahead, behind := b.commits(base, head), b.commits(head, base)
	status := "diverged"
	switch {
	case base == head:
		status = "identical"
	case len(behind) == 0:
		status = "ahead"
	case len(ahead) == 0:
		status = "behind"
	}
	self, page := r.api("/compare/%s", r.PathValue("span")), r.html("/compare/%s", r.PathValue("span"))
	return ok(object{
		"url": self, "html_url": page, "permalink_url": page, "diff_url": page + ".diff", "patch_url": page + ".patch",
		"base_commit": r.showCommit(base), "merge_base_commit": r.showCommit(common), "status": status, "ahead_by": len(ahead), "behind_by": len(behind),
		"total_commits": len(ahead), "commits": showAll(ahead, r.showCommit),
	})
}

func listTags(r request) fakegithub.Answer {
	out, _ := r.git().run("for-each-ref", "--format=%(refname:lstrip=2)", "refs/tags")
	return listed(r, strings.Fields(out), func(name string) object {
		sha := r.git().commit("refs/tags/" + name)
		return object{
			"name": name, "node_id": nodeID("REF", r.repo.ID, "refs/tags/"+name), "commit": object{"sha": sha, "url": r.api("/commits/%s", sha)},
			"zipball_url": r.api("/zipball/%s", name), "tarball_url": r.api("/tarball/%s", name),
		}
	})
}

// commitStatus answers without statuses: the results of runs are checks.
func commitStatus(r request) fakegithub.Answer {
	sha := r.git().commit(r.PathValue("ref"))
	if sha == "" {
		return r.notFound()
	}
	return ok(object{
		"state": "pending", "statuses": []object{}, "sha": sha, "total_count": 0, "repository": r.showMinimal(),
		"commit_url": r.api("/commits/%s", sha), "url": r.api("/commits/%s/status", sha),
	})
}

func commitChecks(r request) fakegithub.Answer {
	sha := r.git().commit(r.PathValue("ref"))
	if sha == "" {
		return r.notFound()
	}
	checks := []object{}
	for _, x := range r.st.runs {
		for _, j := range x.jobs {
			if x.sha == sha {
				checks = append(checks, r.showCheck(x, j))
			}
		}
	}
	return ok(object{"total_count": len(checks), "check_runs": checks})
}

func (r request) showCheck(x *run, j *job) object {
	job := r.showJob(x, j)
	self := r.api("/check-runs/%d", j.id)
	return object{
		"id": j.id, "node_id": job["node_id"], "name": j.name, "head_sha": x.sha, "external_id": "", "url": self, "html_url": job["html_url"], "details_url": job["html_url"],
		"status": "completed", "conclusion": "success", "started_at": job["started_at"], "completed_at": job["completed_at"], "check_suite": object{"id": x.id + 1_000_000_000},
		"output": object{"title": nil, "summary": nil, "text": nil, "annotations_count": 0, "annotations_url": self + "/annotations"}, "app": nil, "pull_requests": []object{},
	}
}

// searchIssues finds issues and pull requests that the token may read.
func (h *Hub) searchIssues(c fakegithub.Call) fakegithub.Answer {
	if c.URL.Query().Get("q") == "" {
		return *c.Refuse(http.StatusUnprocessableEntity, "Validation Failed")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	found := []object{}
	graph{c, h, nil}.each(parseSearch(c.URL.Query().Get("q")), func(r request, i *issue) {
		item := r.showIssue(i)
		item["score"] = 1.0
		found = append(found, item)
	})
	some, header := fakegithub.Page(c, found)
	return fakegithub.Answer{Status: http.StatusOK, Header: header, Body: object{"total_count": len(found), "incomplete_results": false, "items": append([]object{}, some...)}}
}

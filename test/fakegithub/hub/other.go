package hub

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// background is the context of calls that tests make through methods of Hub.
var background = context.Background()

func (h *Hub) otherRoutes() {
	h.in("POST", "/deployments", "deployments:write", postDeployment)
	h.in("POST", "/code-scanning/alerts/{number}/autofix/commits", "contents:write,security_events:write", postAutofix)
}

type deployment struct {
	id       int64
	ref, sha string
}

// postDeployment deploys a ref. As at GitHub, it first merges the default branch into a
// branch that is behind, unless auto_merge is false: with deployments: write alone,
// this call moves a ref.
func postDeployment(r request) fakegithub.Answer {
	in := struct {
		Ref, Task, Environment, Description string
		AutoMerge                           *bool     `json:"auto_merge"`
		RequiredContexts                    *[]string `json:"required_contexts"`
		Payload                             any
		TransientEnvironment                bool `json:"transient_environment"`
		ProductionEnvironment               bool `json:"production_environment"`
	}{Task: "deploy", Environment: "production"}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	sha := r.git().commit(in.Ref)
	if sha == "" {
		return r.failed(unprocessable("No ref found for: %s", in.Ref))
	}
	merged, f := r.deployMerge(in.Ref, in.AutoMerge == nil || *in.AutoMerge)
	if f != nil {
		return r.failed(f)
	}
	if merged {
		return fakegithub.Answer{Status: http.StatusAccepted, Body: object{"message": fmt.Sprintf("Auto-merged main into %s on deployment.", in.Ref)}}
	}
	d := &deployment{r.h.s.NextID(), in.Ref, sha}
	r.st.deploys = append(r.st.deploys, d)
	self, now := r.api("/deployments/%d", d.id), timestamp(r.h.s.Now())
	return created(object{
		"id": d.id, "node_id": nodeID("DE", r.repo.ID, fmt.Sprint(d.id)), "url": self, "sha": sha, "ref": in.Ref, "task": in.Task, "payload": object{},
		"environment": in.Environment, "original_environment": in.Environment, "description": orNull(in.Description), "creator": r.user(r.Bot()),
		"created_at": now, "updated_at": now, "statuses_url": self + "/statuses", "repository_url": r.api(""),
		"transient_environment": in.TransientEnvironment, "production_environment": in.ProductionEnvironment,
	})
}

// deployMerge merges the default branch into a branch that is behind it.
func (r request) deployMerge(branch string, wanted bool) (merged bool, f *failure) {
	if !wanted || branch == "main" || r.git().branch(branch) == "" {
		return false, nil
	}
	sha, f := r.mergeBranch(branch, "main", fmt.Sprintf("Merge main into %s", branch))
	if f != nil {
		return false, fail(http.StatusConflict, "Conflict merging main into %s.", branch)
	}
	return sha != "", nil
}

// An autofix is the fix that code scanning proposes for an alert.
type autofix struct {
	number     int
	path, text string
}

// AddAutofix makes code scanning propose the text of a file for the alert of that
// number.
func (h *Hub) AddAutofix(owner, name string, alert int, path, text string) error {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return fmt.Errorf("add autofix: no repository %s/%s", owner, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.of(repo)
	st.autofixes = append(st.autofixes, &autofix{alert, path, text})
	return nil
}

func postAutofix(r request) fakegithub.Answer {
	var in struct {
		TargetRef string `json:"target_ref"`
		Message   string
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	for _, fix := range r.st.autofixes {
		if fix.number != r.number() {
			continue
		}
		branch := strings.TrimPrefix(in.TargetRef, "refs/heads/")
		sha, f := r.commitOn(branch, "", in.Message, []change{{path: fix.path, text: []byte(fix.text)}}, r.me())
		if f != nil {
			return r.failed(f)
		}
		return created(object{"target_ref": "refs/heads/" + branch, "sha": sha})
	}
	return r.notFound()
}

// HoldPull makes a pull request wait for required checks, or ends the wait: if its
// automatic merge is enabled, it is then merged.
func (h *Hub) HoldPull(owner, name string, number int, held bool) error {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return fmt.Errorf("hold pull request: no repository %s/%s", owner, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.of(repo)
	i := st.pullRequest(number)
	if i == nil {
		return fmt.Errorf("hold pull request: no pull request %d", number)
	}
	i.pull.held = held
	if held || i.pull.autoMerge == "" {
		return nil
	}
	r := request{Call: i.pull.autoCall, h: h, repo: repo, st: st}
	if f := r.mergePull(i, "", i.pull.autoMerge, "", ""); f != nil {
		return fmt.Errorf("merge pull request %d: %s", number, f.message)
	}
	return nil
}

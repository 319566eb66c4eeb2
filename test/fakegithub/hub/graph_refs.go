package hub

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// refMutations returns the mutations that move refs. Moves lists each of them.
func refMutations() map[string]mutation {
	return map[string]mutation{
		"createRef":                  createRefMutation,
		"updateRef":                  updateRefMutation,
		"updateRefs":                 updateRefsMutation,
		"deleteRef":                  deleteRefMutation,
		"createCommitOnBranch":       createCommitOnBranch,
		"mergeBranch":                mergeBranchMutation,
		"createLinkedBranch":         createLinkedBranch,
		"createDeployment":           createDeployment,
		"mergePullRequest":           ofPull("contents:write", mergePullRequest),
		"enablePullRequestAutoMerge": ofPull("contents:write,pull_requests:write", enableAutoMerge),
		"updatePullRequestBranch":    ofPull("contents:write,pull_requests:write", updatePullRequestBranch),
		"revertPullRequest":          revertPullRequest,
		"enqueuePullRequest":         enqueuePullRequest,
	}
}

func createRefMutation(g graph, in object) (object, *failure) {
	r, f := g.writer(in, "contents:write")
	if f == nil {
		f = r.createRef(text(in, "name"), text(in, "oid"))
	}
	if f != nil {
		return nil, f
	}
	return object{"ref": r.refEntity(text(in, "name"))}, nil
}

func updateRefMutation(g graph, in object) (object, *failure) {
	r, name, f := g.ref(text(in, "refId"))
	if f == nil && !allowed(g.Call, r.repo, "contents:write") {
		f = forbidden
	}
	if f == nil {
		f = r.updateRef(name, text(in, "oid"), in["force"] == true)
	}
	if f != nil {
		return nil, f
	}
	return object{"ref": r.refEntity(name)}, nil
}

func deleteRefMutation(g graph, in object) (object, *failure) {
	r, name, f := g.ref(text(in, "refId"))
	if f == nil && !allowed(g.Call, r.repo, "contents:write") {
		f = forbidden
	}
	if f == nil {
		f = r.deleteRef(name)
	}
	return object{}, f
}

// updateRefsMutation creates, moves and deletes refs: all or none.
func updateRefsMutation(g graph, in object) (object, *failure) {
	r, f := g.writer(in, "contents:write")
	if f != nil {
		return nil, f
	}
	updates, _ := in["refUpdates"].([]any)
	var lines strings.Builder
	for _, u := range updates {
		one, _ := u.(object)
		name, before, after := text(one, "name"), text(one, "beforeOid"), text(one, "afterOid")
		old := r.git().ref(name)
		switch gone := strings.Trim(after, "0") == ""; {
		case !strings.HasPrefix(name, "refs/") || !plain(name) || !movable(name):
			return nil, unprocessable("Reference name is not valid")
		case before != "" && strings.Trim(before, "0") != strings.Trim(old, "0"):
			return nil, unprocessable("Reference %s is not at the expected commit", name)
		case gone && old == "":
			return nil, unprocessable(msgNoRef)
		case gone:
			lines.WriteString("delete " + name + " " + old + "\n")
		case !r.git().object(after, ""):
			return nil, unprocessable("Object does not exist")
		case old != "" && one["force"] != true && !r.git().contains(after, old):
			return nil, unprocessable("Update is not a fast forward")
		case old == "":
			lines.WriteString("create " + name + " " + after + "\n")
		default:
			lines.WriteString("update " + name + " " + after + " " + old + "\n")
		}
	}
	if _, err := r.git().feed(lines.String(), "update-ref", "--stdin"); err != nil {
		return nil, unprocessable("Reference update failed")
	}
	r.follow()
	return object{}, nil
}

func createCommitOnBranch(g graph, in object) (object, *failure) {
	r, branch, f := g.committable(in)
	if f != nil {
		return nil, f
	}
	changes, f := fileChanges(in)
	if f != nil {
		return nil, f
	}
	message, _ := in["message"].(object)
	words := strings.TrimRight(text(message, "headline")+"\n\n"+text(message, "body"), "\n")
	sha, f := r.commitOn(branch, text(in, "expectedHeadOid"), words, changes, r.me())
	if f != nil {
		if strings.HasPrefix(f.message, "Expected branch") {
			f.kind = "STALE_DATA"
		}
		return nil, f
	}
	return object{"commit": r.commitEntity(sha), "ref": r.refEntity("refs/heads/" + branch)}, nil
}

// committable returns the branch of createCommitOnBranch, given by an ID or by names.
func (g graph) committable(in object) (r request, branch string, f *failure) {
	at, _ := in["branch"].(object)
	if id := text(at, "id"); id != "" {
		var name string
		if r, name, f = g.ref(id); f == nil {
			branch = strings.TrimPrefix(name, "refs/heads/")
		}
	} else {
		owner, name, _ := strings.Cut(text(at, "repositoryNameWithOwner"), "/")
		repo, there := g.h.s.Repository(owner, name)
		if !there || !g.MaySee(repo) {
			return request{}, "", notFound("Could not resolve to a Repository with the name '%s/%s'.", owner, name)
		}
		r, branch = g.in(repo), strings.TrimPrefix(text(at, "branchName"), "refs/heads/")
	}
	if f == nil && !allowed(g.Call, r.repo, "contents:write") {
		f = forbidden
	}
	return r, branch, f
}

func fileChanges(in object) ([]change, *failure) {
	files, _ := in["fileChanges"].(object)
	var out []change
	for key, remove := range map[string]bool{"additions": false, "deletions": true} {
		list, _ := files[key].([]any)
		for _, item := range list {
			one, _ := item.(object)
			raw, err := base64.StdEncoding.DecodeString(text(one, "contents"))
			if err != nil || !goodPath(text(one, "path")) {
				return nil, unprocessable("A path or contents of fileChanges are not valid")
			}
			out = append(out, change{path: text(one, "path"), text: raw, remove: remove})
		}
	}
	return out, nil
}

func mergeBranchMutation(g graph, in object) (object, *failure) {
	r, f := g.writer(in, "contents:write")
	if f != nil {
		return nil, f
	}
	sha, f := r.mergeBranch(text(in, "base"), text(in, "head"), text(in, "commitMessage"))
	switch {
	case f != nil:
		return nil, f
	case sha == "":
		return nil, unprocessable("Already merged: %q into %q", text(in, "head"), text(in, "base"))
	}
	return object{"mergeCommit": r.commitEntity(sha)}, nil
}

// createLinkedBranch creates a branch for an issue.
func createLinkedBranch(g graph, in object) (object, *failure) {
	r, i, f := g.find(text(in, "issueId"), "I")
	if f == nil && !allowed(g.Call, r.repo, "contents:write,issues:write") {
		f = forbidden
	}
	if f != nil {
		return nil, f
	}
	name := text(in, "name")
	if name == "" {
		name = strings.ToLower(strings.Join(append([]string{strconv.Itoa(i.number)}, strings.Fields(i.title)...), "-"))
	}
	if f := r.createRef("refs/heads/"+name, text(in, "oid")); f != nil {
		return nil, f
	}
	i.branches = append(i.branches, name)
	return object{"linkedBranch": r.linkedBranch(name), "issue": r.issueEntity(i)}, nil
}

// createDeployment first merges the default branch into the ref, as REST does.
func createDeployment(g graph, in object) (object, *failure) {
	r, f := g.writer(in, "deployments:write")
	if f != nil {
		return nil, f
	}
	_, name, f := g.ref(text(in, "refId"))
	if f != nil {
		return nil, f
	}
	branch := strings.TrimPrefix(name, "refs/heads/")
	merged, f := r.deployMerge(branch, in["autoMerge"] != false)
	if f != nil {
		return nil, f
	}
	return object{"autoMerged": merged, "deployment": nil}, nil
}

func mergePullRequest(r request, i *issue, in object) *failure {
	method := strings.ToLower(text(in, "mergeMethod"))
	if method == "" {
		method = "merge"
	}
	return r.mergePull(i, text(in, "expectedHeadOid"), method, text(in, "commitHeadline"), text(in, "commitBody"))
}

// enableAutoMerge makes a pull request merge when its required checks have passed.
func enableAutoMerge(r request, i *issue, in object) *failure {
	if r.refresh(i); !i.open() || !i.pull.held {
		return unprocessable("Pull request is in %s status", strings.ToLower(r.mergeState(i)))
	}
	i.pull.autoMerge, i.pull.autoCall = "merge", r.Call
	if method := text(in, "mergeMethod"); method != "" {
		i.pull.autoMerge = strings.ToLower(method)
	}
	return nil
}

func updatePullRequestBranch(r request, i *issue, in object) *failure {
	return r.updatePull(i, text(in, "expectedHeadOid"))
}

func revertPullRequest(g graph, in object) (object, *failure) {
	r, i, f := g.find(text(in, "pullRequestId"), "PR")
	if f == nil && !allowed(g.Call, r.repo, "contents:write,pull_requests:write") {
		f = forbidden
	}
	if f != nil {
		return nil, f
	}
	made, f := r.revertPull(i, text(in, "title"), text(in, "body"), in["draft"] == true)
	if f != nil {
		return nil, f
	}
	return object{"pullRequest": r.pullEntity(i), "revertPullRequest": r.pullEntity(made)}, nil
}

// enqueuePullRequest puts a pull request into the merge queue. The queue is empty, so
// this merges it.
func enqueuePullRequest(g graph, in object) (object, *failure) {
	r, i, f := g.find(text(in, "pullRequestId"), "PR")
	if f == nil && !allowed(g.Call, r.repo, "contents:write,pull_requests:write") {
		f = forbidden
	}
	if f == nil {
		f = r.mergePull(i, text(in, "expectedHeadOid"), "merge", "", "")
	}
	if f != nil && f.status == http.StatusMethodNotAllowed {
		f = unprocessable("Pull request is not mergeable")
	}
	return object{"mergeQueueEntry": nil}, f
}

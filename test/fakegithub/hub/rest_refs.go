package hub

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (h *Hub) refRoutes() {
	h.in("GET", "/git/ref/{ref...}", "contents:read", getRef)
	h.in("GET", "/git/matching-refs/{ref...}", "contents:read", matchingRefs)
	h.in("POST", "/git/refs", "contents:write", postRef)
	h.in("PATCH", "/git/refs/{ref...}", "contents:write", patchRef)
	h.in("DELETE", "/git/refs/{ref...}", "contents:write", deleteRef)
	h.in("GET", "/branches", "contents:read", listBranches)
	h.in("GET", "/branches/{branch}", "contents:read", getBranch)
	h.in("POST", "/branches/{branch}/rename", "contents:write", renameBranch)
	h.in("POST", "/merges", "contents:write", postMerge)
}

func (r request) pathRef() string { return "refs/" + r.PathValue("ref") }

func getRef(r request) fakegithub.Answer {
	sha := r.git().ref(r.pathRef())
	if sha == "" {
		return r.notFound()
	}
	return ok(r.showRef(r.pathRef(), sha))
}

func matchingRefs(r request) fakegithub.Answer {
	if !plain(strings.TrimSuffix(r.pathRef(), "/")) {
		return r.notFound()
	}
	out, err := r.git().run("for-each-ref", "--format=%(refname) %(objectname)")
	if err != nil {
		return r.notFound()
	}
	var lines []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, r.pathRef()) && !strings.HasPrefix(line, "refs/fakegithub/") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return listed(r, lines, func(line string) object {
		ref, sha, _ := strings.Cut(line, " ")
		return r.showRef(ref, sha)
	})
}

func (r request) showRef(ref, sha string) object {
	kind, _ := r.git().run("cat-file", "-t", sha)
	return object{
		"ref": ref, "node_id": nodeID("Ref", r.repo.ID, ref), "url": r.api("/git/%s", ref),
		"object": object{"type": kind, "sha": sha, "url": r.api("/git/%ss/%s", kind, sha)},
	}
}

func postRef(r request) fakegithub.Answer {
	var in struct{ Ref, SHA string }
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if f := r.createRef(in.Ref, in.SHA); f != nil {
		return r.failed(f)
	}
	a := created(r.showRef(in.Ref, in.SHA))
	a.Header = http.Header{"Location": {r.api("/git/%s", in.Ref)}}
	return a
}

func patchRef(r request) fakegithub.Answer {
	var in struct {
		SHA   string
		Force bool
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if f := r.updateRef(r.pathRef(), in.SHA, in.Force); f != nil {
		return r.failed(f)
	}
	return ok(r.showRef(r.pathRef(), in.SHA))
}

func deleteRef(r request) fakegithub.Answer {
	if f := r.deleteRef(r.pathRef()); f != nil {
		return r.failed(f)
	}
	return noContent
}

func listBranches(r request) fakegithub.Answer {
	out, _ := r.git().run("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads")
	lines := slices.DeleteFunc(strings.Split(out, "\n"), func(line string) bool { return line == "" })
	return listed(r, lines, func(line string) object {
		name, sha, _ := strings.Cut(line, " ")
		return object{"name": name, "protected": false, "commit": object{"sha": sha, "url": r.api("/commits/%s", sha)}}
	})
}

func getBranch(r request) fakegithub.Answer {
	name := r.PathValue("branch")
	sha := r.git().branch(name)
	if sha == "" {
		return *r.Refuse(http.StatusNotFound, "Branch not found")
	}
	return ok(r.showBranch(name, sha))
}

func (r request) showBranch(name, sha string) object {
	return object{
		"name": name, "protected": false, "commit": r.showCommit(sha),
		"_links":         object{"self": r.api("/branches/%s", name), "html": r.html("/tree/%s", name)},
		"protection":     object{"enabled": false, "required_status_checks": object{"enforcement_level": "off", "contexts": []string{}, "checks": []object{}}},
		"protection_url": r.api("/branches/%s/protection", name),
	}
}

func renameBranch(r request) fakegithub.Answer {
	var in struct {
		NewName string `json:"new_name"`
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	name := r.PathValue("branch")
	sha := r.git().branch(name)
	switch {
	case sha == "":
		return *r.Refuse(http.StatusNotFound, "Branch not found")
	case name == "main": // only administrators may rename the default branch
		return *r.Refuse(http.StatusForbidden, notForApps)
	}
	if f := r.createRef("refs/heads/"+in.NewName, sha); f != nil {
		return r.failed(f)
	}
	if f := r.deleteRef("refs/heads/" + name); f != nil {
		return r.failed(f)
	}
	return created(r.showBranch(in.NewName, sha))
}

func postMerge(r request) fakegithub.Answer {
	var in struct {
		Base, Head    string
		CommitMessage string `json:"commit_message"`
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	sha, f := r.mergeBranch(in.Base, in.Head, in.CommitMessage)
	if f != nil {
		return r.failed(f)
	}
	if sha == "" {
		return noContent
	}
	return created(r.showCommit(sha))
}

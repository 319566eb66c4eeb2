package hub

import (
	"fmt"
	"net/http"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// SetUpstream makes a repository a fork of another one.
func (h *Hub) SetUpstream(owner, name, upstreamOwner, upstreamName string) error {
	repo, there := h.s.Repository(owner, name)
	upstream, also := h.s.Repository(upstreamOwner, upstreamName)
	if !there || !also {
		return fmt.Errorf("make %s/%s a fork of %s/%s: one of them is not there", owner, name, upstreamOwner, upstreamName)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(repo).upstream = upstream.ID
	return nil
}

func (h *Hub) forkRoutes() {
	h.in("POST", "/merge-upstream", "contents:write", postMergeUpstream)
}

// postMergeUpstream updates a branch of a fork to that of its upstream.
func postMergeUpstream(r request) fakegithub.Answer {
	var in struct{ Branch string }
	if no := r.Decode(&in); no != nil {
		return *no
	}
	upstream, there := r.h.s.RepositoryByID(r.st.upstream)
	b := r.git()
	old := b.branch(in.Branch)
	switch {
	case !there:
		return r.failed(unprocessable("This repository is not a fork"))
	case old == "":
		return r.failed(unprocessable("The branch %s does not exist", in.Branch))
	}
	if _, err := b.run("fetch", "--quiet", "--no-write-fetch-head", upstream.Dir, "+refs/heads/"+in.Branch+":"+upstreamRef); err != nil {
		return r.failed(unprocessable("The upstream repository has no branch %s", in.Branch))
	}
	theirs := b.ref(upstreamRef)
	how, f := r.syncWith(in.Branch, old, theirs)
	_, _ = b.run("update-ref", "-d", upstreamRef)
	if f != nil {
		return r.failed(f)
	}
	return ok(object{"message": "Successfully fetched and fast-forwarded from upstream.", "merge_type": how, "base_branch": upstream.Owner + ":" + in.Branch})
}

// upstreamRef holds the commit that was fetched from the upstream, until it is merged.
const upstreamRef = "refs/fakegithub/upstream"

// syncWith moves a branch to a commit of the upstream, or merges the commit into it.
func (r request) syncWith(branch, ours, theirs string) (how string, f *failure) {
	b := r.git()
	switch {
	case b.contains(ours, theirs):
		return "none", nil
	case b.contains(theirs, ours):
		return "fast-forward", r.move("refs/heads/"+branch, theirs, ours)
	}
	sha, err := b.mergeOf(ours, theirs, "Merge upstream", r.me())
	if err != nil {
		return "", fail(http.StatusConflict, "There are merge conflicts")
	}
	return "merge", r.move("refs/heads/"+branch, sha, ours)
}

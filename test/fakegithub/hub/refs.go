package hub

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

func (p person) line(now time.Time) string {
	at := now
	if t, err := time.Parse(time.RFC3339, p.Date); err == nil {
		at = t
	}
	return fmt.Sprintf("%s <%s> %d +0000", p.Name, p.Email, at.Unix())
}

// me returns the committer for a request.
func (r request) me() person {
	login := r.Bot()
	return person{Name: login, Email: fmt.Sprintf("%v+%s@users.noreply.github.invalid", r.ShowUser(login)["id"], login)}
}

const msgNoRef = "Reference does not exist"

// createRef creates a branch, a tag or another ref.
func (r request) createRef(ref, sha string) *failure {
	b := r.git()
	switch {
	case !strings.HasPrefix(ref, "refs/") || strings.Count(ref, "/") < 2 || !plain(ref):
		return unprocessable("Reference name is not valid")
	case !movable(ref):
		return unprocessable("Reference cannot be created")
	case !b.object(sha, ""), strings.HasPrefix(ref, "refs/heads/") && !b.object(sha, "commit"):
		return unprocessable("Object does not exist")
	case b.ref(ref) != "":
		return unprocessable("Reference already exists")
	}
	return r.move(ref, sha, "")
}

// movable reports whether clients may move a ref; they may not move refs that GitHub
// itself makes.
func movable(ref string) bool {
	return !strings.HasPrefix(ref, "refs/pull/") && !strings.HasPrefix(ref, "refs/fakegithub/")
}

// updateRef moves an existing ref; without force, only forward.
func (r request) updateRef(ref, sha string, force bool) *failure {
	b := r.git()
	old := b.ref(ref)
	switch {
	case old == "" || !movable(ref):
		return unprocessable(msgNoRef)
	case !b.object(sha, ""), strings.HasPrefix(ref, "refs/heads/") && !b.object(sha, "commit"):
		return unprocessable("Object does not exist")
	case !force && !b.contains(sha, old):
		return unprocessable("Update is not a fast forward")
	}
	return r.move(ref, sha, old)
}

func (r request) deleteRef(ref string) *failure {
	old := r.git().ref(ref)
	switch {
	case old == "" || !movable(ref):
		return unprocessable(msgNoRef)
	case ref == "refs/heads/main":
		return unprocessable("Cannot delete the default branch")
	}
	return r.move(ref, "", old)
}

// move sets a ref from old to sha. An empty old means that the ref does not exist; an
// empty sha deletes it.
func (r request) move(ref, sha, old string) *failure {
	const none = "0000000000000000000000000000000000000000"
	args := []string{"update-ref", ref, sha, old}
	switch {
	case sha == "":
		args = []string{"update-ref", "-d", ref, old}
	case old == "":
		args[3] = none
	}
	if _, err := r.git().run(args...); err != nil {
		return unprocessable("Reference update failed")
	}
	r.follow()
	return nil
}

// follow updates the pull requests after a change of branches.
func (r request) follow() {
	for _, i := range r.st.issues {
		if i.pull != nil {
			r.refresh(i)
		}
	}
}

// mergeBranch merges head, a branch, tag or commit, into the branch base. It returns ""
// if base already contains head.
func (r request) mergeBranch(base, head, message string) (sha string, f *failure) {
	b := r.git()
	from, into := b.commit(head), b.branch(base)
	switch {
	case into == "":
		return "", fail(http.StatusNotFound, "Base does not exist")
	case from == "":
		return "", fail(http.StatusNotFound, "Head does not exist")
	case b.contains(into, from):
		return "", nil
	}
	if message == "" {
		message = fmt.Sprintf("Merge %s into %s", head, base)
	}
	sha, err := b.mergeOf(into, from, message, r.me())
	if err == errConflict {
		return "", fail(http.StatusConflict, "Merge conflict")
	}
	if err != nil {
		return "", fail(http.StatusInternalServerError, "git failed")
	}
	return sha, r.move("refs/heads/"+base, sha, into)
}

// commitOn commits changes to a branch and moves it. expected is the commit that the
// branch must have; "" means any.
func (r request) commitOn(branch, expected, message string, changes []change, author person) (sha string, f *failure) {
	b := r.git()
	head := b.branch(branch)
	switch {
	case head == "":
		return "", fail(http.StatusNotFound, "Branch %s not found", branch)
	case expected != "" && expected != head:
		return "", unprocessable("Expected branch to point to %q but it points to %q. Pull and try again.", expected, head)
	}
	tree, err := b.tree(head)
	if err == nil {
		tree, err = b.change(tree, changes)
	}
	if err == nil {
		sha, err = b.write(tree, message, []string{head}, author, webFlow)
	}
	if err != nil {
		return "", unprocessable("Could not make the commit")
	}
	return sha, r.move("refs/heads/"+branch, sha, head)
}

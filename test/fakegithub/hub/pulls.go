package hub

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// An issue is an issue or, with pull, a pull request; they share their numbers.
type issue struct {
	id                  int64
	number              int
	title, body, author string
	labels              []string
	comments            []*comment
	created, updated    time.Time
	closed              time.Time // zero while it is open
	reason              string    // why it was closed, in GitHub's terms
	branches            []string  // branches that are linked to the issue
	pull                *pull
}

type comment struct {
	id               int64
	body, author     string
	created, updated time.Time
}

type pull struct {
	base, head       string // branches
	baseSHA, headSHA string // the latest, or those when it was closed
	draft            bool
	reviews          []*review
	held             bool            // required checks have not passed
	autoMerge        string          // the method; "" means off
	autoCall         fakegithub.Call // the call that enabled it
	merged           time.Time
	mergedBy         string
	mergeSHA         string
}

func (i *issue) open() bool { return i.closed.IsZero() }

// state returns open, closed or, in GraphQL's term, merged.
func (i *issue) state() string {
	if i.open() {
		return "open"
	}
	return "closed"
}

// find returns an issue or pull request by its number; nil if there is none.
func (st *repository) find(number int) *issue {
	for _, i := range st.issues {
		if i.number == number {
			return i
		}
	}
	return nil
}

func (st *repository) pullRequest(number int) *issue {
	if i := st.find(number); i != nil && i.pull != nil {
		return i
	}
	return nil
}

func (st *repository) pulls() []*issue {
	return slices.DeleteFunc(slices.Clone(st.issues), func(i *issue) bool { return i.pull == nil })
}

// newestFirst returns a list in the order in which GitHub lists issues, pull requests
// and runs.
func newestFirst[T any](list []T) []T {
	out := slices.Clone(list)
	slices.Reverse(out)
	return out
}

func (r request) newIssue(title, body string) *issue { return r.st.newIssue(r.h, title, body, r.Bot()) }

func (st *repository) newIssue(h *Hub, title, body, author string) *issue {
	now := h.s.Now()
	st.number++
	i := &issue{id: h.s.NextID(), number: st.number, title: title, body: body, author: author, created: now, updated: now}
	st.issues = append(st.issues, i)
	return i
}

func (r request) comment(i *issue, body string) *comment {
	now := r.h.s.Now()
	c := &comment{id: r.h.s.NextID(), body: body, author: r.Bot(), created: now, updated: now}
	i.comments = append(i.comments, c)
	i.updated = now
	return c
}

// createPull opens a pull request for a branch of the same repository.
func (r request) createPull(title, body, head, base string, draft bool) (*issue, *failure) {
	b := r.git()
	branch := r.ownBranch(head)
	from, into := b.branch(branch), b.branch(base)
	switch {
	case title == "":
		return nil, invalid("PullRequest", "title", "missing_field", "")
	case branch == "" || from == "":
		return nil, invalid("PullRequest", "head", "invalid", "")
	case into == "":
		return nil, invalid("PullRequest", "base", "invalid", "")
	case len(b.commits(into, from)) == 0:
		return nil, invalid("PullRequest", "", "custom", fmt.Sprintf("No commits between %s and %s", base, branch))
	}
	for _, i := range r.st.pulls() {
		if i.open() && i.pull.head == branch && i.pull.base == base {
			return nil, invalid("PullRequest", "", "custom", fmt.Sprintf("A pull request already exists for %s:%s.", r.repo.Owner, branch))
		}
	}
	i := r.newIssue(title, body)
	i.pull = &pull{base: base, head: branch, baseSHA: into, headSHA: from, draft: draft}
	r.git().point(i)
	return i, nil
}

// ownBranch removes OWNER: from a branch; "" if the branch belongs to another owner.
func (r request) ownBranch(head string) string {
	if owner, branch, is := strings.Cut(head, ":"); is {
		if !strings.EqualFold(owner, r.repo.Owner) {
			return ""
		}
		return branch
	}
	return head
}

// point sets the ref that GitHub maintains for a pull request.
func (b bare) point(i *issue) {
	_, _ = b.run("update-ref", fmt.Sprintf("refs/pull/%d/head", i.number), i.pull.headSHA)
}

// refresh updates an open pull request from its branches. If all its commits are in its
// base, it was merged.
func (r request) refresh(i *issue) {
	if !i.open() {
		return
	}
	b := r.git()
	if sha := b.branch(i.pull.base); sha != "" {
		i.pull.baseSHA = sha
	}
	switch sha := b.branch(i.pull.head); {
	case sha == "":
		r.close(i, "")
	case sha != i.pull.headSHA:
		i.pull.headSHA = sha
		b.point(i)
	}
	if i.open() && b.contains(i.pull.baseSHA, i.pull.headSHA) {
		r.merged(i, i.pull.baseSHA)
	}
}

func (r request) close(i *issue, reason string) {
	i.closed, i.updated, i.reason = r.h.s.Now(), r.h.s.Now(), reason
}

func (r request) merged(i *issue, sha string) {
	i.pull.merged, i.pull.mergedBy, i.pull.mergeSHA = r.h.s.Now(), r.Bot(), sha
	r.close(i, "")
}

// mergePull merges a pull request into its base by a method: merge, squash or rebase.
func (r request) mergePull(i *issue, expected, method, headline, body string) *failure {
	r.refresh(i)
	switch {
	case !i.open() || i.pull.draft || i.pull.held:
		return fail(http.StatusMethodNotAllowed, "Pull Request is not mergeable")
	case expected != "" && expected != i.pull.headSHA:
		return fail(http.StatusConflict, "Head branch was modified. Review and try the merge again.")
	}
	if headline == "" {
		headline = fmt.Sprintf("Merge pull request #%d from %s/%s", i.number, r.repo.Owner, i.pull.head)
		if method != "merge" {
			headline = fmt.Sprintf("%s (#%d)", i.title, i.number)
		}
	}
	message := strings.TrimRight(headline+"\n\n"+body, "\n")
	sha, err := r.mergeCommit(i, method, message)
	if err == errConflict {
		return fail(http.StatusMethodNotAllowed, "Pull Request is not mergeable")
	}
	if err != nil {
		return fail(http.StatusInternalServerError, "git failed")
	}
	r.merged(i, sha) // otherwise follow would count it as merged by a push
	return r.move("refs/heads/"+i.pull.base, sha, i.pull.baseSHA)
}

// mergeable reports whether base and head have no conflict.
func (r request) mergeable(i *issue) bool {
	_, err := r.git().run("merge-tree", "--write-tree", "--no-messages", i.pull.baseSHA, i.pull.headSHA)
	return err == nil
}

// mergeCommit makes the commit that the base moves to. A rebase that is not a
// fast-forward becomes one squashed commit: the effect on refs is the same.
func (r request) mergeCommit(i *issue, method, message string) (string, error) {
	b := r.git()
	if method == "rebase" && b.contains(i.pull.headSHA, i.pull.baseSHA) {
		return i.pull.headSHA, nil
	}
	sha, err := b.mergeOf(i.pull.baseSHA, i.pull.headSHA, message, r.me())
	if err != nil || method == "merge" {
		return sha, err
	}
	tree, err := b.tree(sha)
	if err != nil {
		return "", err
	}
	return b.write(tree, message, []string{i.pull.baseSHA}, r.me(), webFlow)
}

// updatePull merges the base into the head of a pull request.
func (r request) updatePull(i *issue, expected string) *failure {
	r.refresh(i)
	switch {
	case !i.open():
		return unprocessable("Pull request is closed")
	case expected != "" && expected != i.pull.headSHA:
		return unprocessable("expected head sha didn’t match current head ref.")
	}
	sha, f := r.mergeBranch(i.pull.head, i.pull.base, fmt.Sprintf("Merge branch '%s' into %s", i.pull.base, i.pull.head))
	if f == nil && sha == "" {
		return unprocessable("There are no new commits on the base branch.")
	}
	return f
}

// revertPull reverts a merged pull request on a new branch, and opens another pull
// request for it.
func (r request) revertPull(i *issue, title, body string, draft bool) (*issue, *failure) {
	if i.pull.merged.IsZero() {
		return nil, unprocessable("Pull request is not merged")
	}
	b := r.git()
	base := b.branch(i.pull.base)
	c, _ := b.read(i.pull.mergeSHA)
	if base == "" || len(c.parents) == 0 {
		return nil, unprocessable("Pull request cannot be reverted")
	}
	tree, err := b.run("merge-tree", "--write-tree", "--no-messages", "--merge-base="+c.sha, base, c.parents[0])
	if err != nil { // git before 2.40 has no --merge-base; there, the reverted merge is the latest one
		if base != c.sha {
			return nil, unprocessable("Pull request cannot be reverted automatically")
		}
		tree, _ = b.tree(c.parents[0])
	}
	if title == "" {
		title = fmt.Sprintf("Revert %q", i.title)
	}
	sha, err := b.write(tree, title, []string{base}, r.me(), webFlow)
	if err != nil {
		return nil, unprocessable("Pull request cannot be reverted")
	}
	branch := fmt.Sprintf("revert-%d-%s", i.number, i.pull.head)
	if f := r.createRef("refs/heads/"+branch, sha); f != nil {
		return nil, f
	}
	return r.createPull(title, body, branch, i.pull.base, draft)
}

package hub

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Refs returns the branches and tags of a repository with their commits. It omits the
// refs that GitHub makes for pull requests.
func (h *Hub) Refs(owner, name string) (map[string]string, error) {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return nil, fmt.Errorf("refs: no repository %s/%s", owner, name)
	}
	out, err := bare{h.s, repo}.run("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		ref, sha, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[ref] = sha
	}
	return refs, err
}

// Commit commits files, texts by path, to a branch, as a push would, and returns the
// commit. A missing branch is created from main.
func (h *Hub) Commit(owner, name, branch, message string, files map[string]string) (string, error) {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return "", fmt.Errorf("commit: no repository %s/%s", owner, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b := bare{h.s, repo}
	old := b.branch(branch)
	parent := old
	if old == "" {
		parent = b.branch("main")
	}
	tree, err := b.tree(parent)
	if err != nil {
		return "", err
	}
	var changes []change
	for _, path := range slices.Sorted(maps.Keys(files)) {
		changes = append(changes, change{path: path, text: []byte(files[path])})
	}
	if tree, err = b.change(tree, changes); err != nil {
		return "", err
	}
	sha, err := b.write(tree, message, []string{parent}, webFlow, webFlow)
	if err == nil {
		_, err = b.run("update-ref", "refs/heads/"+branch, sha)
	}
	return sha, err
}

// AddIssue opens an issue as an account, with comments by the same account, and returns
// its number.
func (h *Hub) AddIssue(owner, name, author, title string, comments ...string) (int, error) {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return 0, fmt.Errorf("add issue: no repository %s/%s", owner, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.of(repo).newIssue(h, title, "", author)
	for _, body := range comments {
		now := h.s.Now()
		i.comments = append(i.comments, &comment{h.s.NextID(), body, author, now, now})
	}
	return i.number, nil
}

// AddPull opens a pull request as an account, for a branch of the repository, and
// returns its number.
func (h *Hub) AddPull(owner, name, author, title, head, base string) (int, error) {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return 0, fmt.Errorf("add pull request: no repository %s/%s", owner, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b := bare{h.s, repo}
	from, into := b.branch(head), b.branch(base)
	if from == "" || into == "" {
		return 0, fmt.Errorf("add pull request: no branch %s or %s", head, base)
	}
	i := h.of(repo).newIssue(h, title, "", author)
	i.pull = &pull{base: base, head: head, baseSHA: into, headSHA: from}
	b.point(i)
	return i.number, nil
}

// AddDraft adds a draft release for a tag that does not exist, and returns its ID.
func (h *Hub) AddDraft(owner, name, tag string) (int64, error) {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return 0, fmt.Errorf("add draft: no repository %s/%s", owner, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	x := &release{id: h.s.NextID(), tag: tag, target: "main", author: owner, draft: true, created: h.s.Now()}
	st := h.of(repo)
	st.releases = append(st.releases, x)
	return x.id, nil
}

// MergePull merges a pull request, as a user does on the page.
func (h *Hub) MergePull(owner, name string, number int) error {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return fmt.Errorf("merge pull request: no repository %s/%s", owner, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	st, b := h.of(repo), bare{h.s, repo}
	i := st.pullRequest(number)
	if i == nil {
		return fmt.Errorf("merge pull request: no pull request %d", number)
	}
	base := b.branch(i.pull.base)
	sha, err := b.mergeOf(base, b.branch(i.pull.head), "Merge "+i.title, webFlow)
	if err != nil {
		return fmt.Errorf("merge pull request %d: %w", number, err)
	}
	i.pull.baseSHA, i.pull.mergeSHA, i.pull.mergedBy = sha, sha, owner
	i.pull.merged, i.closed, i.updated = h.s.Now(), h.s.Now(), h.s.Now()
	_, err = b.run("update-ref", "refs/heads/"+i.pull.base, sha, base)
	return err
}

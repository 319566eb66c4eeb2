package hub

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (h *Hub) objectRoutes() {
	h.in("GET", "/git/commits/{sha}", "contents:read", getGitCommit)
	h.in("POST", "/git/commits", "contents:write", postCommit)
	h.in("GET", "/git/trees/{sha...}", "contents:read", getTree)
	h.in("POST", "/git/trees", "contents:write", postTree)
	h.in("GET", "/git/blobs/{sha}", "contents:read", getBlob)
	h.in("POST", "/git/blobs", "contents:write", postBlob)
	h.in("GET", "/commits/{ref...}", "contents:read", getCommit)
}

func getGitCommit(r request) fakegithub.Answer {
	if !r.git().object(r.PathValue("sha"), "commit") {
		return r.notFound()
	}
	return ok(r.showGitCommit(r.PathValue("sha")))
}

func getCommit(r request) fakegithub.Answer {
	sha := r.git().commit(r.PathValue("ref"))
	if sha == "" {
		return *r.Refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+r.PathValue("ref"))
	}
	return ok(r.showCommit(sha))
}

func postCommit(r request) fakegithub.Answer {
	var in struct {
		Message, Tree     string
		Parents           []string
		Author, Committer *person
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	b := r.git()
	if !b.object(in.Tree, "tree") {
		return r.failed(unprocessable("Tree SHA does not exist"))
	}
	for _, parent := range in.Parents {
		if !b.object(parent, "commit") {
			return r.failed(unprocessable("Parent SHA does not exist or is not a commit object"))
		}
	}
	author, committer := r.me(), webFlow
	if in.Author != nil {
		author = *in.Author
		committer = author
	}
	if in.Committer != nil {
		committer = *in.Committer
	}
	sha, err := b.write(in.Tree, in.Message, in.Parents, author, committer)
	if err != nil {
		return r.failed(unprocessable("Could not make the commit"))
	}
	return created(r.showGitCommit(sha))
}

func getTree(r request) fakegithub.Answer {
	b, name := r.git(), r.PathValue("sha")
	commit := b.commit(name)
	if commit == "" && b.object(name, "tree") {
		commit = name
	}
	if commit == "" {
		return r.notFound()
	}
	sha, _ := b.tree(commit)
	if sha == "" {
		sha = commit
	}
	return ok(r.showTree(sha, r.URL.Query().Get("recursive") != ""))
}

func (r request) showTree(sha string, recursive bool) object {
	args := []string{"ls-tree", "-z", "-l", sha}
	if recursive {
		args = []string{"ls-tree", "-z", "-l", "-r", "-t", sha}
	}
	out, _ := r.git().run(args...)
	entries := []object{}
	for line := range strings.SplitSeq(strings.TrimRight(out, "\x00"), "\x00") {
		meta, path, is := strings.Cut(line, "\t")
		f := strings.Fields(meta)
		if !is || len(f) != 4 {
			continue
		}
		entry := object{"path": path, "mode": f[0], "type": f[1], "sha": f[2]}
		switch f[1] {
		case "blob":
			entry["size"], _ = strconv.Atoi(f[3])
			entry["url"] = r.api("/git/blobs/%s", f[2])
		case "tree":
			entry["url"] = r.api("/git/trees/%s", f[2])
		}
		entries = append(entries, entry)
	}
	return object{"sha": sha, "url": r.api("/git/trees/%s", sha), "truncated": false, "tree": entries}
}

// A treeEntry is an entry in the body of POST git/trees.
type treeEntry struct {
	Path, Mode, Type string
	SHA              *string // null removes
	Content          *string
}

func postTree(r request) fakegithub.Answer {
	var in struct {
		BaseTree string `json:"base_tree"`
		Tree     []treeEntry
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	b, base := r.git(), ""
	if in.BaseTree != "" {
		tree, err := b.tree(in.BaseTree)
		if !isSHA1(in.BaseTree) || err != nil {
			return r.failed(unprocessable("base_tree is not a tree object"))
		}
		base = tree
	}
	var changes []change
	for _, e := range in.Tree {
		c, f := b.changeFor(e)
		if f != nil {
			return r.failed(f)
		}
		changes = append(changes, c)
	}
	sha, err := b.change(base, changes)
	if err != nil {
		return r.failed(unprocessable("Could not make the tree"))
	}
	return created(r.showTree(sha, false))
}

func (b bare) changeFor(e treeEntry) (change, *failure) {
	c := change{path: e.Path, mode: e.Mode}
	switch {
	case !goodPath(e.Path):
		return c, unprocessable("tree.path contains a malformed path component")
	case e.Content != nil:
		c.text = []byte(*e.Content)
	case e.SHA == nil:
		c.remove = true
	case !b.object(*e.SHA, ""):
		return c, unprocessable("tree.sha %s is not a valid %s", *e.SHA, e.Type)
	default:
		c.sha = *e.SHA
	}
	return c, nil
}

func getBlob(r request) fakegithub.Answer {
	sha := r.PathValue("sha")
	if !r.git().object(sha, "blob") {
		return r.notFound()
	}
	text, _ := r.git().run("cat-file", "blob", sha)
	size, _ := r.git().run("cat-file", "-s", sha)
	n, _ := strconv.Atoi(size)
	for len(text) < n { // restore the white space that run trimmed
		text += "\n"
	}
	return ok(object{
		"sha": sha, "node_id": nodeID("B", r.repo.ID, sha), "size": n, "url": r.api("/git/blobs/%s", sha),
		"content": base64.StdEncoding.EncodeToString([]byte(text)) + "\n", "encoding": "base64",
	})
}

func postBlob(r request) fakegithub.Answer {
	in := struct{ Content, Encoding string }{Encoding: "utf-8"}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if in.Encoding == "base64" {
		raw, err := base64.StdEncoding.DecodeString(in.Content)
		if err != nil {
			return r.failed(unprocessable("content is not valid Base64"))
		}
		in.Content = string(raw)
	}
	sha, err := r.git().feed(in.Content, "hash-object", "-w", "--stdin")
	if err != nil {
		return r.failed(unprocessable("Could not make the blob"))
	}
	return created(object{"sha": sha, "url": r.api("/git/blobs/%s", sha)})
}

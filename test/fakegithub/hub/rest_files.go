package hub

import (
	"encoding/base64"
	"net/http"
	"path"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (h *Hub) fileRoutes() {
	h.in("PUT", "/contents/{path...}", "contents:write", putFile)
	h.in("DELETE", "/contents/{path...}", "contents:write", deleteFile)
}

// A fileEdit is the body of the calls that write and delete a file.
type fileEdit struct {
	Message, Content, SHA, Branch string
	Author, Committer             *person
}

func putFile(r request) fakegithub.Answer {
	var in fileEdit
	if no := r.Decode(&in); no != nil {
		return *no
	}
	text, err := base64.StdEncoding.DecodeString(in.Content)
	if err != nil {
		return r.failed(unprocessable("content is not valid Base64"))
	}
	there := r.blobAt(in.branch(), r.PathValue("path"))
	switch {
	case !goodPath(r.PathValue("path")):
		return r.failed(unprocessable("path contains a malformed path component"))
	case there != "" && in.SHA == "":
		return r.failed(unprocessable("Invalid request.\n\n\"sha\" wasn't supplied."))
	case there != in.SHA:
		return r.failed(fail(http.StatusConflict, "%s does not match %s", r.PathValue("path"), in.SHA))
	}
	sha, f := r.edit(in, change{path: r.PathValue("path"), text: text})
	if f != nil {
		return r.failed(f)
	}
	a := ok(object{"content": r.showFile(in.branch(), r.PathValue("path"), len(text)), "commit": r.showFileCommit(sha)})
	if there == "" {
		a.Status = http.StatusCreated
	}
	return a
}

func deleteFile(r request) fakegithub.Answer {
	in := fileEdit{Message: r.URL.Query().Get("message"), SHA: r.URL.Query().Get("sha"), Branch: r.URL.Query().Get("branch")}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	switch there := r.blobAt(in.branch(), r.PathValue("path")); {
	case there == "":
		return r.notFound()
	case in.SHA == "":
		return r.failed(unprocessable("Invalid request.\n\n\"sha\" wasn't supplied."))
	case there != in.SHA:
		return r.failed(fail(http.StatusConflict, "%s does not match %s", r.PathValue("path"), in.SHA))
	}
	sha, f := r.edit(in, change{path: r.PathValue("path"), remove: true})
	if f != nil {
		return r.failed(f)
	}
	return ok(object{"content": nil, "commit": r.showFileCommit(sha)})
}

func (in fileEdit) branch() string {
	if in.Branch == "" {
		return "main"
	}
	return in.Branch
}

func (r request) edit(in fileEdit, c change) (string, *failure) {
	author := r.me()
	if in.Author != nil {
		author = *in.Author
	}
	if in.Message == "" {
		return "", unprocessable("Invalid request.\n\n\"message\" wasn't supplied.")
	}
	return r.commitOn(in.branch(), "", in.Message, []change{c}, author)
}

// blobAt returns the hash of a branch's file; "" if there is none.
func (r request) blobAt(branch, path string) string {
	if !plain(branch) || !goodPath(path) {
		return ""
	}
	sha, err := r.git().run("rev-parse", "--verify", "--quiet", "refs/heads/"+branch+":"+path)
	if err != nil {
		return ""
	}
	return sha
}

func (r request) showFile(branch, file string, size int) object {
	sha := r.blobAt(branch, file)
	self, blob, page := r.api("/contents/%s?ref=%s", file, branch), r.api("/git/blobs/%s", sha), r.html("/blob/%s/%s", branch, file)
	return object{
		"type": "file", "name": path.Base(file), "path": file, "sha": sha, "size": size, "url": self, "git_url": blob, "html_url": page,
		"download_url": r.html("/raw/%s/%s", branch, file), "_links": object{"self": self, "git": blob, "html": page},
	}
}

func (r request) showFileCommit(sha string) object { return r.showGitCommit(sha) }

package fakegithub

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// The texts of GitHub's refusals of a file.
const (
	msgNotForApps = "Resource not accessible by integration"
	msgNoCommit   = "No commit found for the ref "
	msgTooLarge   = "This API returns blobs up to 1 MB in size. The requested blob is too large to fetch via the API, " +
		"but you can use the Git Data API to request blobs up to 100 MB in size."
)

const (
	maxContents    = 1 << 20 // the largest file that is answered as JSON
	base64LineSize = 60      // GitHub breaks the text of a file
)

// getContents answers with the current content of a file or a directory in the bare
// repository. It refuses loudly other kinds of objects, and media types other than
// JSON. git runs while the state is locked, for a few milliseconds.
func getContents(c call) answer {
	repo, moved := c.repository()
	if repo == nil || !c.maySee(repo) {
		return notFound.answer()
	}
	if !repo.Public && !c.token.allows("contents", "read") {
		return refuse(http.StatusForbidden, msgNotForApps).answer()
	}
	if moved {
		return c.movedTo(repo, c.contentsSuffix())
	}
	if accept := strings.Join(c.r.Header.Values("Accept"), ","); accept != "" && !acceptsJSON(accept) {
		return loudly("contents are answered as JSON, not as " + accept).answer()
	}
	ref := c.r.URL.Query().Get("ref")
	if ref == "" {
		ref = defaultBranch
	}
	if entries, is := c.directory(repo, ref, c.r.PathValue("path")); is {
		return ok(entries)
	}
	f, no := c.file(repo, ref, c.r.PathValue("path"))
	if no != nil {
		return no.answer()
	}
	return ok(c.showFile(repo, ref, f))
}

// contentsSuffix returns what follows a repository's URL in this call's URL.
func (c call) contentsSuffix() string {
	suffix := "/contents/" + escapePath(c.r.PathValue("path"))
	if c.r.URL.RawQuery != "" {
		suffix += "?" + c.r.URL.RawQuery
	}
	return suffix
}

func escapePath(p string) string { return (&url.URL{Path: p}).EscapedPath() }

// acceptsJSON distinguishes GitHub's JSON from its raw, html and object forms.
func acceptsJSON(accept string) bool {
	for _, form := range []string{"*/*", "application/json", "application/vnd.github+json", "application/vnd.github.v3+json"} {
		if strings.Contains(accept, form) {
			return true
		}
	}
	return false
}

// directory lists a directory. It returns false if the path is not a directory.
func (c call) directory(repo *Repository, ref, path string) ([]object, bool) {
	if repo.Dir == "" { // without git
		return nil, false
	}
	inside := path
	if path != "" {
		entry, err := c.entry(repo, ref, path)
		if err != nil || !strings.HasPrefix(entry, "040000 ") {
			return nil, false
		}
		inside = path + "/"
	}
	lines, err := c.entry(repo, ref, inside)
	if err != nil {
		return nil, false
	}
	out := []object{}
	for line := range strings.SplitSeq(strings.TrimRight(lines, "\x00"), "\x00") {
		if line != "" {
			out = append(out, c.showEntry(repo, ref, line))
		}
	}
	return out, true
}

// showEntry returns one line of git's list of a directory, as the API shows it.
func (c call) showEntry(repo *Repository, ref, line string) object {
	meta, at, _ := strings.Cut(line, "\t")
	var mode, kind, sha, size string
	_, _ = fmt.Sscan(meta, &mode, &kind, &sha, &size)
	n, _ := strconv.Atoi(size) // a tree's is "-"
	out := c.showFile(repo, ref, file{path: at, sha: sha})
	delete(out, "content")
	delete(out, "encoding")
	out["size"] = n
	if kind == "tree" {
		out["type"], out["download_url"] = "dir", nil
		tree := c.api("/repos/%s/git/trees/%s", repo.FullName(), sha)
		out["git_url"] = tree
		out["_links"].(object)["git"] = tree
	}
	return out
}

// A file is a blob at a path.
type file struct {
	path string
	sha  string // of the blob
	text []byte
}

// file returns one file of a commit.
func (c call) file(repo *Repository, ref, path string) (file, *refusal) {
	if repo.Dir == "" { // without git
		return file{}, notFound
	}
	entry, err := c.entry(repo, ref, path)
	switch {
	case err != nil:
		return file{}, refuse(http.StatusNotFound, msgNoCommit+ref)
	case entry == "":
		return file{}, notFound
	}
	var mode, kind, sha, size string
	_, _ = fmt.Sscan(entry, &mode, &kind, &sha, &size) // "100644 blob SHA 12\tPATH"
	if kind != "blob" || mode == "120000" {
		return file{}, loudly("only files are shown, not links or submodules")
	}
	if n, err := strconv.Atoi(size); err != nil || n > maxContents {
		return file{}, refuse(http.StatusForbidden, msgTooLarge)
	}
	var text bytes.Buffer
	if err := c.s.runGit(c.r.Context(), gitCommand{dir: repo.Dir, args: []string{"cat-file", "blob", sha}, stdout: &text}); err != nil {
		return file{}, refuse(http.StatusInternalServerError, "git failed")
	}
	return file{path, sha, text.Bytes()}, nil
}

var errNoCommit = errors.New("no such commit, branch or tag")

// entry returns git's line for the path; "" if the commit does not have it.
func (c call) entry(repo *Repository, ref, path string) (string, error) {
	if strings.ContainsAny(ref, "~^:?*[\\ \t\n\x00") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") {
		return "", errNoCommit
	}
	commits := []string{"refs/heads/" + ref, "refs/tags/" + ref}
	if isSHA1(ref) {
		commits = []string{ref}
	}
	for _, commit := range commits {
		var line bytes.Buffer
		args := []string{"--literal-pathspecs", "ls-tree", "-z", "-l", commit + "^{commit}", "--"}
		if path != "" {
			args = append(args, path)
		}
		if c.s.runGit(c.r.Context(), gitCommand{dir: repo.Dir, args: args, stdout: &line}) == nil {
			return line.String(), nil
		}
	}
	return "", errNoCommit
}

// isSHA1 reports whether text is the full hash of an object.
func isSHA1(text string) bool {
	return len(text) == 40 && strings.Trim(text, "0123456789abcdef") == ""
}

func (c call) showFile(repo *Repository, ref string, f file) object {
	at := escapePath(f.path)
	self := c.api("/repos/%s/contents/%s?ref=%s", repo.FullName(), at, url.QueryEscape(ref))
	blob := c.api("/repos/%s/git/blobs/%s", repo.FullName(), f.sha)
	page := c.html("/%s/blob/%s/%s", repo.FullName(), escapePath(ref), at)
	return object{
		"type": "file", "name": path.Base(f.path), "path": f.path, "sha": f.sha, "size": len(f.text),
		"encoding": "base64", "content": inLines(base64.StdEncoding.EncodeToString(f.text)),
		"url": self, "git_url": blob, "html_url": page,
		"download_url": c.html("/%s/raw/%s/%s", repo.FullName(), escapePath(ref), at),
		"_links":       object{"self": self, "git": blob, "html": page},
	}
}

// inLines ends every line with a newline, as GitHub does.
func inLines(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		n := min(base64LineSize, len(text))
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return out.String()
}

// repository returns the repository that the path names, by {owner}/{repo} or {id}, and
// whether the name is a former one.
func (c call) repository() (repo *Repository, moved bool) {
	st := &c.s.state
	owner, name := c.r.PathValue("owner"), c.r.PathValue("repo")
	if owner == "" {
		return st.repositories[c.id()], false
	}
	if repo = st.repository(owner, name); repo != nil {
		return repo, false
	}
	return st.renamed(owner, name), true
}

func getRepository(c call) answer {
	repo, moved := c.repository()
	if repo == nil || !c.maySee(repo) {
		return notFound.answer()
	}
	if moved {
		return c.movedTo(repo, "")
	}
	return ok(c.showFullRepository(repo))
}

func (c call) maySee(repo *Repository) bool {
	return repo.Public || (c.token != nil && c.token.reaches(repo) && c.token.allows("metadata", "read"))
}

// movedTo returns GitHub's redirect from a former name, which uses the ID.
func (c call) movedTo(repo *Repository, suffix string) answer {
	url := fmt.Sprintf("https://%s%s/repositories/%d%s", c.r.Host, c.prefix, repo.ID, suffix)
	return answer{
		status: http.StatusMovedPermanently,
		body:   object{"message": "Moved Permanently", "url": url, "documentation_url": docsURL},
		header: http.Header{"Location": {url}},
	}
}

func getRateLimit(c call) answer {
	core := c.s.windowOf("core", c.principal()).answer()
	graphql := c.s.windowOf("graphql", c.principal()).answer()
	search := object{"limit": 30, "used": 0, "remaining": 30, "reset": core["reset"]}
	return ok(object{"rate": core, "resources": object{"core": core, "graphql": graphql, "search": search}})
}

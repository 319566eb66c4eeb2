package hub

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// api returns a URL of the REST API below the repository.
func (r request) api(format string, args ...any) string {
	return r.API("/repos/%s", r.repo.FullName()) + fmt.Sprintf(format, args...)
}

// html returns the URL of a page below the repository.
func (r request) html(format string, args ...any) string {
	return r.HTML("/%s", r.repo.FullName()) + fmt.Sprintf(format, args...)
}

// nodeID returns the ID of an object that has a name in its repository but no number.
func nodeID(kind string, repo int64, name string) string {
	return kind + "_" + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d:%s", repo, name))
}

// parseNodeID is the inverse of nodeID.
func parseNodeID(id string) (kind string, repo int64, name string, is bool) {
	kind, rest, _ := strings.Cut(id, "_")
	raw, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return "", 0, "", false
	}
	number, name, is := strings.Cut(string(raw), ":")
	repo, err = strconv.ParseInt(number, 10, 64)
	return kind, repo, name, is && err == nil
}

// A commit is one as git has it.
type commit struct {
	sha, tree         string
	parents           []string
	author, committer person
	message           string
}

func (c commit) headline() string { return strings.SplitN(c.message, "\n", 2)[0] }

func (c commit) body() string {
	_, body, _ := strings.Cut(c.message, "\n")
	return strings.TrimSpace(body)
}

// read reads a commit object.
func (b bare) read(sha string) (commit, bool) {
	text, err := b.run("cat-file", "commit", sha)
	if err != nil {
		return commit{}, false
	}
	head, message, _ := strings.Cut(text, "\n\n")
	c := commit{sha: sha, message: strings.TrimRight(message, "\n")}
	for lines := bufio.NewScanner(strings.NewReader(head)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), " ")
		switch key {
		case "tree":
			c.tree = value
		case "parent":
			c.parents = append(c.parents, value)
		case "author":
			c.author = parsePerson(value)
		case "committer":
			c.committer = parsePerson(value)
		}
	}
	return c, true
}

// parsePerson reads "Name <email> SECONDS ZONE".
func parsePerson(line string) person {
	name, rest, _ := strings.Cut(line, " <")
	email, at, _ := strings.Cut(rest, "> ")
	seconds, _, _ := strings.Cut(at, " ")
	n, _ := strconv.ParseInt(seconds, 10, 64)
	return person{name, email, timestamp(time.Unix(n, 0))}
}

var unsigned = object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}

// showGitCommit returns a commit as the Git database API shows it.
func (r request) showGitCommit(sha string) object {
	c, _ := r.git().read(sha)
	return object{
		"sha": sha, "node_id": nodeID("C", r.repo.ID, sha), "url": r.api("/git/commits/%s", sha), "html_url": r.html("/commit/%s", sha),
		"author": c.author, "committer": c.committer, "message": c.message, "verification": unsigned,
		"tree":    object{"sha": c.tree, "url": r.api("/git/trees/%s", c.tree)},
		"parents": showAll(c.parents, r.showParent),
	}
}

func (r request) showParent(sha string) object {
	return object{"sha": sha, "url": r.api("/commits/%s", sha), "html_url": r.html("/commit/%s", sha)}
}

// showCommit returns a commit as the repository API shows it.
func (r request) showCommit(sha string) object {
	c, _ := r.git().read(sha)
	return object{
		"sha": sha, "node_id": nodeID("C", r.repo.ID, sha), "url": r.api("/commits/%s", sha), "html_url": r.html("/commit/%s", sha),
		"comments_url": r.api("/commits/%s/comments", sha), "author": nil, "committer": nil,
		"commit": object{
			"author": c.author, "committer": c.committer, "message": c.message, "verification": unsigned, "comment_count": 0,
			"tree": object{"sha": c.tree, "url": r.api("/git/trees/%s", c.tree)}, "url": r.api("/git/commits/%s", sha),
		},
		"parents": showAll(c.parents, r.showParent),
	}
}

// user returns an account, or null for "".
func (r request) user(login string) any {
	if login == "" {
		return nil
	}
	return r.ShowUser(login)
}

package hub

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// A failure says why an operation did not happen. Both APIs report it, each in its own
// form.
type failure struct {
	status  int
	message string
	details []object // REST's list of errors; usually empty
	kind    string   // GraphQL's type of the error; "" means UNPROCESSABLE
}

func fail(status int, format string, args ...any) *failure {
	return &failure{status: status, message: fmt.Sprintf(format, args...)}
}

func unprocessable(format string, args ...any) *failure {
	return fail(http.StatusUnprocessableEntity, format, args...)
}

// invalid returns GitHub's "Validation Failed" with one reason.
func invalid(resource, field, code, message string) *failure {
	f := unprocessable("Validation Failed")
	detail := object{"resource": resource, "code": code}
	if field != "" {
		detail["field"] = field
	}
	if message != "" {
		detail["message"] = message
	}
	f.details = []object{detail}
	return f
}

func (r request) failed(f *failure) fakegithub.Answer {
	a := *r.Refuse(f.status, f.message)
	if f.details != nil {
		a.Body.(object)["errors"] = f.details
	}
	return a
}

// A bare is the bare git repository of a request.
type bare struct {
	s    *fakegithub.Server
	repo fakegithub.Repository
}

// git does not end with the request, so that it leaves no half-done operation.
func (r request) git() bare { return bare{r.h.s, r.repo} }

func (b bare) run(args ...string) (string, error) { return b.s.GitIn(background, b.repo, nil, args...) }

func (b bare) feed(stdin string, args ...string) (string, error) {
	return b.s.GitIn(background, b.repo, strings.NewReader(stdin), args...)
}

// exitCode returns git's exit code; -1 if git did not run to its end.
func exitCode(err error) int {
	if exit, is := errors.AsType[*exec.ExitError](err); is {
		return exit.ExitCode()
	}
	return -1
}

// plain reports whether a name from a request is safe as an argument of git: not an
// option, and without revision syntax.
func plain(name string) bool {
	return name != "" && name[0] != '-' && name[0] != '/' && !strings.HasSuffix(name, "/") && !strings.HasSuffix(name, ".lock") &&
		!strings.ContainsAny(name, "~^:?*[\\ \t\n\r\x00\x7f") && !strings.Contains(name, "..") && !strings.Contains(name, "@{") && !strings.Contains(name, "//")
}

func isSHA1(text string) bool {
	return len(text) == 40 && strings.Trim(text, "0123456789abcdef") == ""
}

// object reports whether sha is the full name of an object of that kind, or of any kind
// for "".
func (b bare) object(sha, kind string) bool {
	if !isSHA1(sha) {
		return false
	}
	got, err := b.run("cat-file", "-t", sha)
	return err == nil && (kind == "" || got == kind)
}

// ref returns the object that a full ref name points to; "" if there is none.
func (b bare) ref(full string) string {
	if !plain(full) {
		return ""
	}
	sha, err := b.run("rev-parse", "--verify", "--quiet", full)
	if err != nil {
		return ""
	}
	return sha
}

func (b bare) branch(name string) string { return b.ref("refs/heads/" + name) }

// commit resolves a branch, a tag or a full SHA to a commit; "" if there is none.
func (b bare) commit(name string) string {
	for _, full := range []string{"refs/heads/" + name, "refs/tags/" + name, name} {
		if full == name && !isSHA1(name) && !strings.HasPrefix(name, "refs/") || !plain(full) {
			continue
		}
		if sha, err := b.run("rev-parse", "--verify", "--quiet", full+"^{commit}"); err == nil {
			return sha
		}
	}
	return ""
}

// contains reports whether ancestor is in the history of commit.
func (b bare) contains(commit, ancestor string) bool {
	_, err := b.run("merge-base", "--is-ancestor", ancestor, commit)
	return err == nil
}

// commits returns the commits of head that base does not have, oldest first.
func (b bare) commits(base, head string) []string {
	out, err := b.run("rev-list", "--reverse", base+".."+head)
	if err != nil || out == "" {
		return nil
	}
	return strings.Split(out, "\n")
}

func (b bare) tree(commit string) (string, error) {
	return b.run("rev-parse", "--verify", "--quiet", commit+"^{tree}")
}

// A person is the author or committer of a commit.
type person struct {
	Name  string `json:"name"`
	Email string `json:"email"`
	Date  string `json:"date"`
}

// write makes a commit object.
func (b bare) write(tree, message string, parents []string, author, committer person) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "tree %s\n", tree)
	for _, parent := range parents {
		fmt.Fprintf(&text, "parent %s\n", parent)
	}
	fmt.Fprintf(&text, "author %s\ncommitter %s\n\n%s", author.line(b.s.Now()), committer.line(b.s.Now()), message)
	if !strings.HasSuffix(message, "\n") {
		text.WriteByte('\n')
	}
	return b.feed(text.String(), "hash-object", "-t", "commit", "-w", "--stdin")
}

var webFlow = person{Name: "GitHub", Email: "noreply@github.invalid"}

// mergeOf merges two commits into a new one without moving a ref. It returns
// errConflict if their changes conflict.
func (b bare) mergeOf(base, head, message string, author person) (string, error) {
	tree, err := b.run("merge-tree", "--write-tree", "--no-messages", base, head)
	if exitCode(err) == 1 {
		return "", errConflict
	}
	if err != nil {
		return "", err
	}
	return b.write(tree, message, []string{base, head}, author, webFlow)
}

var errConflict = errors.New("merge conflict")

// A change adds a file to a tree, or removes it.
type change struct {
	path   string
	mode   string // "" means 100644
	text   []byte
	sha    string // of an existing blob or tree; text is then ignored
	remove bool
}

// scratchRef holds what fast-import makes, until it gets another name.
const scratchRef = "refs/fakegithub/scratch"

// change makes a tree from the tree from; "" means an empty tree.
func (b bare) change(from string, changes []change) (string, error) {
	var in strings.Builder
	fmt.Fprintf(&in, "commit %s\ncommitter GitHub <noreply@github.invalid> 0 +0000\ndata 0\n\n", scratchRef)
	if from != "" {
		fmt.Fprintf(&in, "M 040000 %s \"\"\n", from)
	}
	for _, c := range changes {
		switch {
		case c.remove:
			fmt.Fprintf(&in, "D %s\n", quotePath(c.path))
		case c.sha != "":
			fmt.Fprintf(&in, "M %s %s %s\n", orDefault(c.mode), c.sha, quotePath(c.path))
		default:
			fmt.Fprintf(&in, "M %s inline %s\ndata %d\n%s\n", orDefault(c.mode), quotePath(c.path), len(c.text), c.text)
		}
	}
	if _, err := b.feed(in.String(), "fast-import", "--quiet", "--force"); err != nil {
		return "", err
	}
	tree, err := b.tree(scratchRef)
	_, gone := b.run("update-ref", "-d", scratchRef)
	return tree, errors.Join(err, gone)
}

func orDefault(mode string) string {
	if mode == "" {
		return "100644"
	}
	return mode
}

func quotePath(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(path) + `"`
}

// goodPath reports whether a tree may have the path.
func goodPath(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return false
		}
	}
	return !strings.ContainsRune(path, 0)
}

package interop

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A client is a program or library that speaks git. Its methods return what a user of it
// sees, and whether it says that it worked. Refspecs have full names.
type client interface {
	version() string
	clone(url, dir string, depth int) (string, bool)
	fetch(dir string) (string, bool)
	push(dir string, refspecs ...string) (string, bool)
}

// A kind is a client, and what of the gateway's answers it shows.
type kind struct {
	name    string
	open    func(w *world) client // skips the test where the client is missing
	refused []string              // for a refused ref
	denied  string                // for a repository that it may not use
	noDepth bool                  // it makes no shallow clones
	silent  bool                  // it exits with 0 all the same, be the server a gateway or not
	oneRef  bool                  // it pushes one ref at a time
	quick   bool                  // leave out what takes long
}

// in runs a part of a test against the world.
func (w *world) in(t *testing.T, name string, part func()) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		before := w.t
		defer func() { w.t = before }()
		w.t = t
		part()
	})
}

// tryAll has a client do everything.
func tryAll(t *testing.T, k kind, w *world) {
	c := k.open(w)
	t.Logf("client: %s %s", k.name, c.version())
	w.in(t, "clone and fetch", func() { cloneAndFetch(w, c) })
	w.in(t, "push", func() { push(w, c) })
	w.in(t, "refused push", func() { refusedPush(w, c, k) })
	w.in(t, "empty repository", func() { emptyRepository(w, c) })
	w.in(t, "denied repository", func() { deniedRepository(w, c, k) })
	if !k.noDepth {
		w.in(t, "shallow clone", func() { shallowClone(w, c) })
	}
	if !k.quick {
		w.in(t, "large push", func() { largePush(w, c, k) })
		w.in(t, "5000 refs", func() { manyRefs(w, c) })
	}
}

// cloned makes a clone of acme/NAME with a branch "work" that has one commit more.
func (w *world) cloned(c client, name string) (dir, commit string) {
	w.t.Helper()
	dir = w.folder()
	if out, ok := c.clone(w.repo(name), dir, 0); !ok {
		w.t.Fatalf("clone of %s: %s", name, out)
	}
	w.local(dir, "checkout", "-q", "-B", "work")
	return dir, w.commit(dir, "work.txt", rand.Text())
}

func (w *world) pushed(c client, dir string, refspecs ...string) {
	w.t.Helper()
	if out, ok := c.push(dir, refspecs...); !ok {
		w.t.Fatalf("push of %v: %s", refspecs, out)
	}
}

func (w *world) wantRef(name, ref, want string) {
	w.t.Helper()
	if got := w.ref(name, ref); got != want {
		w.t.Errorf("GitHub has %s of %s at %q, want %q", ref, name, got, want)
	}
}

func cloneAndFetch(w *world, c client) {
	dir := w.folder()
	if out, ok := c.clone(w.repo("widgets"), dir, 0); !ok {
		w.t.Fatalf("clone: %s", out)
	}
	if got, want := w.local(dir, "rev-parse", "HEAD"), w.ref("widgets", "refs/heads/main"); got != want {
		w.t.Errorf("the clone is at %s, want %s", got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
		w.t.Error(err)
	}
	want := w.moveMain("widgets")
	if out, ok := c.fetch(dir); !ok {
		w.t.Fatalf("fetch: %s", out)
	}
	if got := w.local(dir, "rev-parse", "refs/remotes/origin/main"); got != want {
		w.t.Errorf("after a fetch origin/main is %s, want %s", got, want)
	}
}

const branch = "refs/heads/agent/sb-agent/work"

// push creates, updates and deletes a branch, and creates tags.
func push(w *world, c client) {
	dir, commit := w.cloned(c, "widgets")
	w.pushed(c, dir, "refs/heads/work:"+branch)
	w.wantRef("widgets", branch, commit)
	commit = w.commit(dir, "more.txt", "more")
	w.pushed(c, dir, "refs/heads/work:"+branch)
	w.wantRef("widgets", branch, commit)
	w.pushed(c, dir, ":"+branch)
	w.wantRef("widgets", branch, "")
	if got, want := w.outcomes(branch), []string{"granted", "granted ok", "granted", "granted ok", "granted", "granted ok"}; !slices.Equal(got, want) {
		w.t.Errorf("the audit log has %q of the branch, want %q", got, want)
	}
	w.local(dir, "tag", "v1-light")
	w.local(dir, "tag", "-a", "-m", "note", "v1-noted")
	for _, tag := range []string{"refs/tags/v1-light", "refs/tags/v1-noted"} {
		w.pushed(c, dir, tag+":"+tag)
		w.wantRef("widgets", tag, w.local(dir, "rev-parse", tag))
	}
}

// refusedPush is the fence: nothing moves, GitHub hears nothing, and the user reads why.
func refusedPush(w *world, c client, k kind) {
	dir, _ := w.cloned(c, "widgets")
	w.local(dir, "tag", "release")
	tries := [][]string{
		{"refs/heads/work:refs/heads/main"},
		{"+refs/heads/work:refs/heads/main"},
		{":refs/heads/main"},
		{"refs/tags/release:refs/tags/release"},
		{"refs/heads/work:refs/heads/agent/sb-other/work"},
		{"refs/heads/work:refs/heads/agent/sb-agent/mixed", "refs/heads/work:refs/heads/main"},
	}
	if k.oneRef {
		tries = tries[:len(tries)-1]
	}
	before, pushes := w.refs("widgets"), w.pushesAtGitHub()
	for i, refspecs := range tries {
		out, ok := c.push(dir, refspecs...)
		if ok && !k.silent {
			w.t.Errorf("push of %v: the client says that it worked: %s", refspecs, out)
		}
		if i == 0 {
			w.t.Logf("a refused push prints:\n%s", out)
			w.wantContains("refused push", out, k.refused...)
		} else if !strings.Contains(out, "gatepass: ") {
			w.t.Errorf("push of %v prints %s, want the reason", refspecs, out)
		}
	}
	if after := w.refs("widgets"); after != before {
		w.t.Errorf("GitHub's refs moved from\n%s\nto\n%s", before, after)
	}
	if n := w.pushesAtGitHub() - pushes; n != 0 {
		w.t.Errorf("GitHub was sent %d pushes, want none", n)
	}
}

// largePush sends more than a client keeps in memory, first to a branch that is refused:
// the refusal has to reach a client that is still sending.
func largePush(w *world, c client, k kind) {
	dir, _ := w.cloned(c, "widgets")
	random := make([]byte, 20<<20)
	_, _ = rand.Read(random)
	commit := w.commit(dir, "large.bin", string(random))
	pushes := w.pushesAtGitHub()
	out, ok := c.push(dir, "refs/heads/work:refs/heads/main")
	w.wantContains("large refused push", out, k.refused...)
	if n := w.pushesAtGitHub() - pushes; ok && !k.silent || n != 0 || strings.Contains(out, "up-to-date") {
		w.t.Errorf("a large refused push: exit 0: %v, %d pushes at GitHub: %s", ok, n, out)
	}
	const large = "refs/heads/agent/sb-agent/large"
	begun := len(w.sent(isPush))
	w.pushed(c, dir, "refs/heads/work:"+large)
	w.wantRef("widgets", large, commit)
	for _, a := range w.sent(isPush)[begun:] {
		w.t.Logf("sent by %s: length %s, encoding %q", a.protocol, a.length, a.encoding)
	}
}

func emptyRepository(w *world, c client) {
	w.addEmpty("empty")
	dir := w.folder()
	if out, ok := c.clone(w.repo("empty"), dir, 0); !ok {
		w.t.Fatalf("clone: %s", out)
	}
	w.local(dir, "checkout", "-q", "-b", "work")
	commit := w.commit(dir, "first.txt", "first")
	w.pushed(c, dir, "refs/heads/work:"+branch)
	w.wantRef("empty", branch, commit)
}

func manyRefs(w *world, c client) {
	w.addLarge("many", 5000)
	dir, commit := w.cloned(c, "many")
	if n := strings.Count(w.local(dir, "for-each-ref", "refs/remotes/origin/many")+"\n", "\n"); n != 5000 {
		w.t.Errorf("the clone has %d of the branches, want 5000", n)
	}
	w.pushed(c, dir, "refs/heads/work:"+branch)
	w.wantRef("many", branch, commit)
}

// deniedRepository: the profile does not have octo/widgets.
func deniedRepository(w *world, c client, k kind) {
	out, ok := c.clone(w.url+"/octo/widgets.git", w.folder(), 0)
	if ok {
		w.t.Errorf("a repository of others was cloned: %s", out)
	}
	w.t.Logf("a denied repository prints:\n%s", out)
	w.wantContains("denied repository", out, k.denied)
}

func shallowClone(w *world, c client) {
	for range 3 {
		w.moveMain("widgets")
	}
	dir := w.folder()
	if out, ok := c.clone(w.repo("widgets"), dir, 1); !ok {
		w.t.Fatalf("clone: %s", out)
	}
	if n, _ := strconv.Atoi(w.local(dir, "rev-list", "--count", "HEAD")); n != 1 {
		w.t.Errorf("a clone of depth 1 has %d commits", n)
	}
	w.local(dir, "checkout", "-q", "-B", "work")
	commit := w.commit(dir, "shallow.txt", "shallow")
	const shallow = "refs/heads/agent/sb-agent/shallow"
	w.pushed(c, dir, "refs/heads/work:"+shallow)
	w.wantRef("widgets", shallow, commit)
}

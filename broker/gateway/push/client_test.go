package push

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatepass/gatepass/broker/gateway/advert"
	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/hooks/refs"
)

// A fence is the smallest gateway: git's own server behind this package's decisions.
type fence struct {
	t         *testing.T
	scratch   *scratch
	guard     refs.Guard
	without   string       // a capability that the server lacks
	forwarded atomic.Int32 // number of pushes that git's server got
	outcomes  []Outcome    // of the last push
}

func (f *fence) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, "/o/r.git/") {
	case "GET info/refs":
		w.Header().Set("Content-Type", "application/x-git-receive-pack-advertisement")
		f.advertise(w, r)
	case "POST git-receive-pack":
		w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
		f.push(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (f *fence) receivePack(r *http.Request, stdin io.Reader, stdout io.Writer, args ...string) {
	cmd := exec.Command("git", append(append([]string{"receive-pack"}, args...), f.scratch.dir)...)
	cmd.Env, cmd.Stdin, cmd.Stdout = append(gitEnv(), "GIT_PROTOCOL="+r.Header.Get("Git-Protocol")), stdin, stdout
	if err := cmd.Run(); err != nil {
		f.t.Errorf("git receive-pack: %v", err)
	}
}

func (f *fence) advertise(w io.Writer, r *http.Request) {
	from := bytes.NewBuffer(append(pktline.Append(nil, "# service=git-receive-pack\n"), pktline.FlushPacket...))
	f.receivePack(r, nil, from, "--http-backend-info-refs")
	head, err := advert.ReceivePack(from, true)
	if err != nil {
		f.t.Errorf("ReceivePack: %v", err)
	}
	if f.without != "" {
		blank := strings.Repeat(" ", len(f.without)) // of the same length
		head = []byte(strings.Replace(string(head), f.without, blank, 1))
	}
	_, _ = w.Write(head)
	_, _ = io.Copy(w, from)
}

func (f *fence) push(w http.ResponseWriter, r *http.Request) {
	body := bufio.NewReader(r.Body)
	q, err := ReadRequest(body, Limits{})
	if err != nil {
		f.t.Errorf("ReadRequest: %v", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if q.IsProbe() {
		return
	}
	v := Decide(r.Context(), f.guard, q)
	if !v.Allowed() {
		_, _ = io.Copy(io.Discard, body)
		_, _ = w.Write(q.KeepAlive())
		_, _ = w.Write(q.KeepAlive())
		_ = v.Answer(w)
		return
	}
	f.forwarded.Add(1)
	report := NewReport(q)
	f.receivePack(r, io.MultiReader(bytes.NewReader(v.Head()), body), io.MultiWriter(w, report), "--stateless-rpc")
	f.outcomes = report.Outcomes()
}

// A clone is a working copy with commitB, and a remote behind a fence.
type clone struct {
	t     *testing.T
	fence *fence
	dir   string
}

func newClone(t *testing.T) *clone { return newCloneOf(t, "sha1") }

func newCloneOf(t *testing.T, format string) *clone {
	t.Helper()
	f := &fence{t: t, scratch: newScratchOf(t, format), guard: refs.Guard{Ancestry: FastForwards, Policy: policyOf(t, entry("agent/**", "create", "update", "delete"), entry("refs/tags/v*", "create"))}}
	f.scratch.git(t, "", "config", "receive.denyNonFastForwards", "true")
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	c := &clone{t: t, fence: f, dir: filepath.Join(t.TempDir(), "clone")}
	f.scratch.git(t, "", "clone", "-q", "-b", "main", f.scratch.dir, c.dir)
	c.git("remote", "set-url", "origin", server.URL+"/o/r.git")
	c.git("commit", "-q", "--allow-empty", "-m", "more")
	return c
}

// git runs git in the clone. It returns its output, without trailing spaces, and
// whether it exited with 0.
func (c *clone) git(args ...string) (string, bool) {
	c.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = c.dir, gitEnv()
	out, err := cmd.CombinedOutput()
	var lines []string
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Join(lines, "\n"), err == nil
}

// grow commits a file that does not compress.
func (c *clone) grow(size int64) {
	c.t.Helper()
	noise, _ := io.ReadAll(io.LimitReader(rand.Reader, size))
	if err := os.WriteFile(filepath.Join(c.dir, "noise"), noise, 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.git("add", "noise")
	c.git("commit", "-q", "-m", "noise")
}

// The full output that a person or an agent sees.
func TestGitPrintsTheRefusal(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	got, ok := c.git("push", "origin", "HEAD:main", "HEAD:agent/y")
	want := `remote: gatepass: the whole push is refused; nothing was forwarded
remote: gatepass: allowed: agent/** (create, update, delete), refs/tags/v* (create)
remote: gatepass: for example: git push origin HEAD:refs/heads/agent/work
To ` + c.url() + `
 ! [remote rejected] HEAD -> main (gatepass: no rule allows it (update))
 ! [remote rejected] HEAD -> agent/y (gatepass: another ref in this push is not allowed)
error: failed to push some refs to '` + c.url() + `'`
	if got != want || ok {
		t.Errorf("git push printed (exit 0: %v)\n%s\nwant\n%s", ok, got, want)
	}
	if n := c.fence.forwarded.Load(); n > 0 {
		t.Errorf("%d pushes were forwarded, want none", n)
	}
	for _, advice := range strings.SplitAfter(got, "for example: git ")[1:] {
		advice, _, _ = strings.Cut(advice, "\n")
		if out, ok := c.git(strings.Fields(advice)...); !ok {
			t.Errorf("what the answer advises fails: git %s: %s", advice, out)
		}
	}
}

func (c *clone) url() string {
	url, _ := c.git("remote", "get-url", "origin")
	return url
}

func TestGitPushes(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	const rejected, plain = "! [remote rejected] HEAD -> main (gatepass: no rule allows it (update))", ""
	big := func() { c.grow(2 << 20) }
	for _, row := range []struct {
		name, args, without string
		prepare             func()
		prints              string
		outcome             string // empty means that the fence refused it
	}{
		{"a new branch", "push origin HEAD:refs/heads/agent/new", plain, nil, "* [new branch]      HEAD -> agent/new", "ok"},
		{"a branch forward, and a tag", "push origin HEAD:agent/x HEAD:refs/tags/v2", plain, nil, "* [new tag]", "ok ok"},
		{"a delete", "push origin :agent/new", plain, nil, "- [deleted]", "ok"},
		{"protocol version 1", "-c protocol.version=1 push origin HEAD:refs/heads/agent/one", plain, nil, "agent/one", "ok"},
		{"what GitHub refuses", "push -f origin HEAD~1:agent/x", plain, nil, "! [remote rejected]", "refused:non-fast-forward"},
		{"a refusal", "push --no-verify origin HEAD:main", plain, nil, rejected, ""},
		{"an atomic one", "push --atomic origin HEAD:main HEAD:refs/heads/agent/z", plain, nil, rejected, ""},
		{"a quiet one", "push -q origin HEAD:main", plain, nil, rejected, ""},
		{"for programs", "push --porcelain origin HEAD:main", plain, nil, "!\tHEAD:refs/heads/main\t[remote rejected] (gatepass: no rule allows it (update))", ""},
		{"report-status of version 1", "push origin HEAD:main", "report-status-v2", nil, rejected, ""},
		{"without a side-band", "push origin HEAD:main", "side-band-64k", nil, rejected, ""},
		{"without a side-band, allowed", "push origin HEAD:refs/heads/agent/bare", "side-band-64k", nil, "agent/bare", "ok"},
		{"the delete of a branch that is not allowed", "push origin :main", plain, nil, "! [remote rejected] main (gatepass: no rule allows it (delete))", ""},
		{"a large one, in chunks behind a probe", "push origin HEAD:main", plain, big, rejected, ""},
		{"a large one, allowed", "push origin HEAD:refs/heads/agent/big", plain, nil, "agent/big", "ok"},
	} {
		if row.prepare != nil {
			row.prepare()
		}
		c.fence.without, c.fence.outcomes = row.without, nil
		before := c.fence.forwarded.Load()
		out, ok := c.git(strings.Fields(row.args)...)
		if !strings.Contains(out, row.prints) || strings.Contains(out, "up-to-date") || ok != strings.HasPrefix(row.outcome, "ok") {
			t.Errorf("%s: git %s (exit 0: %v) prints\n%s\nwant %q", row.name, row.args, ok, out, row.prints)
		}
		if isForwarded := c.fence.forwarded.Load() > before; isForwarded != (row.outcome != "") {
			t.Errorf("%s: forwarded: %v, want %v", row.name, isForwarded, row.outcome != "")
		}
		if got := texts(c.fence.outcomes); got != row.outcome {
			t.Errorf("%s: outcomes %q, want %q", row.name, got, row.outcome)
		}
	}
}

// git requests no push options if they are not advertised, so none must be refused.
func TestGitSeesNoPushOptions(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	if out, ok := c.git("push", "-o", "ci.skip", "origin", "HEAD:refs/heads/agent/o"); ok || !strings.Contains(out, "does not support push options") {
		t.Errorf("git push -o prints %q (exit 0: %v), want that there are none", out, ok)
	}
}

func TestGitPushesSHA256(t *testing.T) {
	t.Parallel()
	c := newCloneOf(t, "sha256")
	if out, ok := c.git("push", "origin", "HEAD:agent/x"); !ok || texts(c.fence.outcomes) != "ok" || len(c.fence.outcomes[0].Command.New) != 64 {
		t.Errorf("git push of SHA-256 prints %s, outcomes %+v", out, c.fence.outcomes)
	}
	if out, ok := c.git("push", "origin", "HEAD:main"); ok || !strings.Contains(out, "[remote rejected] HEAD -> main (gatepass: ") {
		t.Errorf("a refused git push of SHA-256 prints %s", out)
	}
}

func TestGitPushesFromAShallowClone(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	url := c.url()
	c.dir = filepath.Join(t.TempDir(), "shallow")
	c.fence.scratch.git(t, "", "clone", "-q", "--depth", "1", "-b", "main", "file://"+c.fence.scratch.dir, c.dir)
	c.git("remote", "set-url", "origin", url)
	c.git("commit", "-q", "--allow-empty", "-m", "more")
	if out, ok := c.git("push", "origin", "HEAD:refs/heads/agent/shallow"); !ok || texts(c.fence.outcomes) != "ok" {
		t.Errorf("git push from a shallow clone: %s, outcomes %q", out, texts(c.fence.outcomes))
	}
}

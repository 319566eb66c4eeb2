package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// agents is the profile of most tests: a workspace pushes its own branches and new tags.
const agents = `{allowedRepos: [acme/widgets], allowedRefs: [{ref: "agent/{workspace}/**", allow: [create, update, delete]}, {ref: "refs/tags/v*", allow: [create]}]}`

// A world is a listening gateway with a double of GitHub, and a folder to work in.
type world struct {
	*brokertest.Gateway
	t        *testing.T
	url      string // the gateway's
	settings atomic.Pointer[gateway.Settings]
	gateway  *gateway.Gateway
	home     string
	dir      string // of the clone, once it exists
	session  string
}

func newWorld(t *testing.T, profile string) *world {
	t.Helper()
	return newWorldWith(t, profile, fakegithub.Options{})
}

func newWorldWith(t *testing.T, profile string, o fakegithub.Options) *world {
	t.Helper()
	w := &world{Gateway: brokertest.NewGateway(t, o, profile), t: t, home: t.TempDir()}
	w.settings.Store(&gateway.Settings{MaxPack: 64 << 20, IdleTimeout: time.Minute, Transfers: 8})
	w.gateway = gateway.New(w.Access, func() gateway.Settings { return *w.settings.Load() }, rest.Options{})
	server := httptest.NewServer(w.gateway.Handler(w.Access.Broker.Handler()))
	t.Cleanup(server.Close)
	w.url, w.session = server.URL, w.Session("")
	w.Advance(5 * time.Minute) // so that GitHub knows every token of this test
	return w
}

// set changes the settings from the next request on.
func (w *world) set(change func(*gateway.Settings)) {
	s := *w.settings.Load()
	change(&s)
	w.settings.Store(&s)
}

// repo is the URL of a repository at the gateway, in its short form.
func (w *world) repo(name string) string { return w.url + "/" + name + ".git" }

// env returns a workspace's environment: no configuration except the test's.
func (w *world) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "SESSION=" + w.session,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
}

// git runs git in the clone, with the session as its credential. It returns its output
// and whether it exited with 0.
func (w *world) git(args ...string) (string, bool) {
	w.t.Helper()
	return w.gitIn(w.dir, args...)
}

func (w *world) gitIn(dir string, args ...string) (string, bool) {
	w.t.Helper()
	const helper = `credential.helper=!f() { test "$1" = get && echo username=x && echo "password=$SESSION"; }; f`
	cmd := exec.CommandContext(w.t.Context(), "git", append([]string{"-c", helper, "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir, cmd.Env = dir, w.env()
	out, err := cmd.CombinedOutput()
	var lines []string
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Join(lines, "\n"), err == nil
}

func (w *world) mustGit(args ...string) string {
	w.t.Helper()
	out, ok := w.git(args...)
	if !ok {
		w.t.Fatalf("git %s: %s", strings.Join(args, " "), out)
	}
	return out
}

// clone clones acme/widgets, and adds a commit that GitHub does not have.
func (w *world) clone(args ...string) {
	w.t.Helper()
	w.dir = ""
	dir := filepath.Join(w.t.TempDir(), "clone")
	w.mustGit(append(append([]string{"clone", "-q"}, args...), w.repo("acme/widgets"), dir)...)
	w.dir = dir
	w.mustGit("commit", "-q", "--allow-empty", "-m", "more")
}

// pushes returns how many pushes GitHub got.
func (w *world) pushes() int {
	return w.Count(func(r fakegithub.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/git-receive-pack")
	})
}

// ref returns the object that a ref names at GitHub; "" for none.
func (w *world) ref(name string) string {
	w.t.Helper()
	repo, _ := w.Repository("acme", "widgets")
	out, _ := exec.Command("git", "-C", repo.Dir, "rev-parse", "-q", "--verify", name).Output()
	return strings.TrimSpace(string(out))
}

// audited returns the audit entries about pushes, or of another kind, as "decision ref
// outcome".
func (w *world) audited(kind string) string {
	var lines []string
	for _, e := range w.Journal.Of(kind) {
		if e.Ref == "" && kind == broker.KindPush {
			continue
		}
		lines = append(lines, strings.TrimSpace(e.Decision+" "+strings.TrimPrefix(e.Ref, "refs/")+" "+e.Outcome))
	}
	return strings.Join(lines, "\n")
}

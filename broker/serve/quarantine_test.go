//go:build linux

package serve

import (
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/fakegithub/hub"
)

const verifying = `metadata: {name: agent}
spec: {sourceAccess: {github: {allowedRepos: ["acme/*"], allowedRefs: ["agent/**"], verify: ancestry}}}
`

// The program itself is killed during a verified push. The next one deletes what is
// left at GitHub, and the branch is at its old or its new object.
func TestKilledInAVerifiedPush(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills the broker several times")
	}
	w := newWorld(t)
	w.addApp(1)
	if _, err := hub.Attach(w.gh); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	w.write("profiles/agent.yaml", verifying)
	w.write("broker.yaml", strings.Replace(testConfig, "listen: unix://@DIR@/broker.sock", "gateway: {}\nlisten: [unix://@DIR@/broker.sock, 'http://"+address+"']", 1))
	p := w.start()
	session := w.session(p)
	clone := w.path("clone")
	w.git(t, session, "clone", "-q", "http://"+address+"/acme/r0.git", clone)
	w.git(t, session, "-C", clone, "push", "-q", "origin", "HEAD:refs/heads/agent/x")
	for _, step := range []struct {
		name string
		at   func(*http.Request) bool
	}{
		{"before GitHub has the push", fakegithub.To(http.MethodPost, "/git-receive-pack")},
		{"before the branch is moved", fakegithub.To(http.MethodPatch, "/git/refs/heads/agent/x")},
		{"before the quarantine ref is deleted", func(r *http.Request) bool {
			return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/git/refs/gatepass/")
		}},
	} {
		was := w.refs("refs/heads/agent/x")
		w.git(t, session, "-C", clone, "commit", "-q", "--allow-empty", "-m", step.name)
		head := strings.TrimSpace(w.git(t, session, "-C", clone, "rev-parse", "HEAD"))
		victim := p.Process
		w.gh.Fail(func(r *http.Request) bool {
			if step.at(r) {
				_ = victim.Kill() // its end is waited for below
				return true
			}
			return false
		}, fakegithub.Reset(), 1)
		if out, err := w.gitCommand(session, "-C", clone, "push", "origin", "HEAD:refs/heads/agent/x").CombinedOutput(); err == nil {
			t.Errorf("%s: git push prints %s, want that it fails", step.name, out)
		}
		<-p.done
		if left := w.refs("refs/gatepass") != ""; left != (step.name != "before GitHub has the push") {
			t.Errorf("%s: a quarantine ref is left: %v", step.name, left)
		}
		if got := w.refs("refs/heads/agent/x"); got != was && got != head {
			t.Errorf("%s: the branch went from %s to %s, want that or %s", step.name, was, got, head)
		}
		w.endLease()
		p = w.start()
		p.until("without quarantine refs", func() bool { return w.refs("refs/gatepass") == "" })
		session = w.session(p)
		w.git(t, session, "-C", clone, "push", "-q", "origin", "HEAD:refs/heads/agent/x")
	}
	p.end(15)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// session returns a gateway session for this process.
func (w *world) session(p *process) string {
	w.t.Helper()
	var got struct{ Session string }
	p.until("giving sessions", func() bool {
		a := read(overSocket(w.path("broker.sock")).Post("http://broker/v1/session", "application/json", strings.NewReader("{}")))
		return a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &got) == nil
	})
	return got.Session
}

func (w *world) gitCommand(session string, args ...string) *exec.Cmd {
	const helper = `credential.helper=!f() { test "$1" = get && echo username=x && echo "password=$SESSION"; }; f`
	cmd := exec.Command("git", append([]string{"-c", helper}, args...)...)
	cmd.Env = append([]string{
		"SESSION=" + session, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}, w.env...)
	return cmd
}

func (w *world) git(t *testing.T, session string, args ...string) string {
	t.Helper()
	out, err := w.gitCommand(session, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %s", strings.Join(args, " "), out)
	}
	return string(out)
}

// refs returns the objects of acme/r0's refs at GitHub below a name.
func (w *world) refs(below string) string {
	w.t.Helper()
	repo, _ := w.gh.Repository("acme", "r0")
	out, err := exec.Command("git", "-C", repo.Dir, "for-each-ref", "--format=%(objectname)", below).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// endLease lets the time pass in which only the push itself touches its refs.
func (w *world) endLease() {
	w.t.Helper()
	for name, err := range w.store.List(w.t.Context(), store.Quarantines()) {
		if err != nil {
			w.t.Fatal(err)
		}
		e, err := w.store.Get(w.t.Context(), name)
		var entry map[string]any
		if err == nil {
			err = json.Unmarshal([]byte(e.Value.Reveal()), &entry)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		entry["until"] = time.Now().Add(-time.Second)
		text, err := json.Marshal(entry)
		if err != nil {
			w.t.Fatal(err)
		}
		w.put(name, string(text))
	}
}

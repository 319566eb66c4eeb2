package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/hooks"
)

const (
	oid  = "1111111111111111111111111111111111111111"
	zero = "0000000000000000000000000000000000000000"

	brokerSource = "source: broker+https://broker.example\nrefs: [main]\n"
	fileSource   = "source: file:///x\nrefs: [main]\n"
	widgets      = "https://bot:ghs_0123456789abcdef@github.com/Acme/Widgets.git?token=x"
)

// scene is a repository, a workspace file, and maybe a listener in place of its agent.
type scene struct {
	t      *testing.T
	config string
	env    map[string]string
	listen *net.UnixListener // nil for no agent
}

func newScene(t *testing.T, workspace string) *scene {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "gp") // a short one, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &scene{t: t, config: filepath.Join(dir, "workspace.yaml")}
	if err := os.WriteFile(s.config, []byte(workspace), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = map[string]string{"GATEPASS_CONFIG": s.config, "XDG_RUNTIME_DIR": dir, "PATH": os.Getenv("PATH")}
	if out, err := exec.CommandContext(t.Context(), "git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Skipf("missing: git: %v %s", err, out)
	}
	t.Chdir(dir)
	return s
}

func (s *scene) agent() {
	s.t.Helper()
	place, err := agent.Locate(s.config, s.getenv)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.listen, err = net.ListenUnix("unix", &net.UnixAddr{Name: place.Socket, Net: "unix"}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.listen.Close() })
}

func (s *scene) getenv(name string) string { return s.env[name] }

// push runs the guard on updates, which are lines without the local ref.
func (s *scene) push(url string, lines ...string) (code int, stderr string, took time.Duration) {
	s.t.Helper()
	var errs bytes.Buffer
	stdin := ""
	for _, line := range lines {
		stdin += "HEAD " + line + "\n"
	}
	begun := time.Now()
	code = run(s.t.Context(), []string{"gatepass-pre-push", "origin", url}, s.getenv, strings.NewReader(stdin), io.Discard, &errs)
	return code, errs.String(), time.Since(begun)
}

// told returns the report to the agent; false if none arrives within patience. A
// process that has connected is waiting by now.
func (s *scene) told(patience time.Duration) (r agent.PushReport, raw string, came bool) {
	s.t.Helper()
	if err := s.listen.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	conn, err := s.listen.Accept()
	if err != nil {
		return agent.PushReport{}, "", false
	}
	defer conn.Close()
	data, err := io.ReadAll(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	call, whole, err := agent.ParseCall(data)
	r, ok := agent.ParsePush(call.Payload)
	if err != nil || !whole || !ok || call.Operation != agent.PushRefused || call.Config != s.config {
		s.t.Fatalf("the agent was told %q: %v", data, err)
	}
	return r, string(data), true
}

func TestARefusedPushIsTold(t *testing.T) {
	s := newScene(t, brokerSource)
	s.agent()
	code, _, _ := s.push(widgets, oid+" refs/heads/$(id)<b>\u202e\xff "+zero, zero+" refs/heads/main "+oid, oid+" refs/heads/main "+zero)
	got, raw, came := s.told(30 * time.Second)
	want := agent.PushReport{Host: "github.com", Repo: "acme/widgets", Updates: []agent.PushUpdate{
		{Action: "create", Ref: `refs/heads/$(id)<b>\u202e\xff`, Reason: "no rule allows it (create)"},
		{Action: "delete", Ref: "refs/heads/main", Reason: "this would delete the ref; rule main allows create, update"},
	}}
	if code != 1 || !came || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the push = %d, and the agent was told %+v, want %+v", code, got, want)
	}
	for _, secret := range []string{"bot", "ghs_", "token=", "HEAD"} {
		if strings.Contains(raw, secret) {
			t.Errorf("the agent was told %q, want nothing of %q", raw, secret)
		}
	}
}

// A push through the gateway is checked and reported as a push to its host.
func TestAPushThroughTheGatewayIsJudged(t *testing.T) {
	for url, want := range map[string]string{
		"https://broker.example:8443/Acme/Widgets.git":                 "github.com acme/widgets",
		"https://broker.example:8443/git/git.example/acme/widgets.git": "git.example acme/widgets",
		"https://broker.example/acme/widgets.git":                      "", // another host
	} {
		s := newScene(t, "source: broker+https://broker.example\nrefs: [main]\nhosts: [github.com, git.example]\ngateway: https://broker.example:8443\n")
		s.agent()
		code, stderr, _ := s.push(url, oid+" refs/heads/other "+zero)
		if listed := strings.Contains(stderr, "no rule allows"); code != 1 || listed != (want != "") {
			t.Errorf("a push to %s = %d, %q, want it refused by the rules: %v", url, code, stderr, want != "")
		}
		got, _, _ := s.told(30 * time.Second)
		if want != "" && got.Host+" "+got.Repo != want {
			t.Errorf("the agent was told of %s %s, want %s", got.Host, got.Repo, want)
		}
	}
	s := newScene(t, "refs: [main]\ngateway: http://127.0.0.1:8080\n")
	if code, stderr, _ := s.push("http://127.0.0.1:8080/acme/widgets.git", oid+" refs/heads/main "+zero); code != 0 {
		t.Errorf("a push of what is allowed = %d, %q", code, stderr)
	}
}

// gatepass install --gateway configures git with a gateway that the workspace file does
// not name. A repository's configuration cannot.
func TestAPushThroughAnInstalledGatewayIsJudged(t *testing.T) {
	const gateway = "https://broker.example:8443"
	s := newScene(t, brokerSource)
	s.agent()
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(t.TempDir(), "gitconfig"))
	push := func() string {
		_, stderr, _ := s.push(gateway+"/acme/widgets.git", oid+" refs/heads/other "+zero)
		return stderr
	}
	for _, where := range []string{"--local", "--global"} {
		if out, err := exec.CommandContext(t.Context(), "git", "config", where, "gatepass.gateway", gateway).CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
		if listed := strings.Contains(push(), "no rule allows"); listed != (where == "--global") {
			t.Errorf("with gatepass.gateway in the %s configuration it is judged by the rules: %v", where, listed)
		}
	}
}

// A push that was refused as a whole was reported without a reason if the reason was in
// a wrapped error, and the broker refuses such a report.
func TestAPushThatIsRefusedAsAWholeIsTold(t *testing.T) {
	s := newScene(t, brokerSource)
	s.agent()
	if out, err := exec.CommandContext(t.Context(), "git", "config", "remote.origin.mirror", "true").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	code, _, _ := s.push(widgets, oid+" refs/heads/main "+zero)
	got, _, _ := s.told(30 * time.Second)
	if code != 1 || len(got.Updates) != 1 || !strings.HasPrefix(got.Updates[0].Reason, hooks.ErrMirror.Error()) {
		t.Errorf("the push = %d, and the agent was told %+v, want the reason %q", code, got, hooks.ErrMirror)
	}
}

func TestMuchIsToldInPart(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes hundreds of refs")
	}
	s := newScene(t, brokerSource)
	s.agent()
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("%s refs/heads/%d-ghs_0123456789abcdef-%s %s", oid, i, strings.Repeat("\u200b", 300), zero))
	}
	s.push(widgets, lines...)
	got, raw, _ := s.told(30 * time.Second)
	if len(got.Updates) != agent.MaxPushUpdates || len(raw) > 50_000 || strings.Contains(raw, "ghs_") {
		t.Errorf("%d updates are told in %d bytes: %.300s", len(got.Updates), len(raw), raw)
	}
	for _, u := range got.Updates {
		if len(u.Ref) > maxRef || len(u.Reason) > maxReason || !utf8.ValidString(u.Ref) {
			t.Errorf("%+v is told, want less", u)
		}
	}
}

func TestWhatIsNotTold(t *testing.T) {
	refused, allowed := oid+" refs/heads/secret "+zero, oid+" refs/heads/main "+zero
	for _, c := range []struct {
		name, workspace, url, line string
		code                       int
	}{
		{"a push that is allowed", brokerSource, widgets, allowed, 0},
		{"one where the source is no broker", fileSource, widgets, refused, 1},
		{"one without a source", "refs: [main]\n", widgets, refused, 1},
		{"one to a path", brokerSource, "/srv/git/acme/widgets.git", refused, 0},
		{"one to a file URL", brokerSource, "file:///acme/widgets", refused, 0},
		{"one to what GitHub has not", brokerSource, "https://git.example/group/sub/project", refused, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, c.workspace)
			s.agent()
			code, _, _ := s.push(c.url, c.line)
			if want := c.code; code != want {
				t.Errorf("the push = %d, want %d", code, want)
			}
			if got, _, came := s.told(50 * time.Millisecond); came {
				t.Errorf("the agent was told %+v, want nothing", got)
			}
		})
	}
}

// The user's message depends neither on a listener nor on its speed.
func TestTheUserIsToldAllTheSame(t *testing.T) {
	s := newScene(t, brokerSource)
	line := oid + " refs/heads/secret " + zero
	code, without, base := s.push(widgets, line)
	if _, err := os.Stat(filepath.Join(filepath.Dir(s.config), "gatepass-agent")); code != 1 || err == nil {
		t.Fatalf("the push without an agent = %d, want it refused and none started", code)
	}
	s.agent()
	raw, err := s.listen.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); err != nil { // one connection may wait without being accepted
		t.Fatal(err)
	}
	longest := time.Duration(0)
	for range 4 {
		code, with, took := s.push(widgets, line)
		if code != 1 || with != without {
			t.Errorf("the push with an agent = %d %q, want %q", code, with, without)
		}
		longest = max(longest, took)
	}
	if runtime.GOOS == "linux" && longest < reportWait || longest > base+reportWait+5*time.Second {
		t.Errorf("a push took %v, want %v more than %v", longest, reportWait, base)
	}
}

func TestRepositoryOf(t *testing.T) {
	for remote, want := range map[string]string{
		"https://github.com/acme/widgets.git":         "github.com acme/widgets",
		"https://u:p@GitHub.com:443/Acme/Widgets/":    "github.com acme/widgets",
		"http://git.example:8080/acme/widgets":        "git.example:8080 acme/widgets",
		"ssh://git@github.com:22/acme/widgets":        "github.com acme/widgets",
		"git@github.com:acme/widgets.git":             "github.com acme/widgets",
		"github.com:/acme/widgets":                    "github.com acme/widgets",
		"https://github.com/acme/widgets.wiki.git":    "github.com acme/widgets",
		"https://github.com/acme":                     "",
		"https://github.com/../widgets":               "",
		"https://%zz/acme/widgets":                    "",
		"file:///srv/acme/widgets":                    "",
		"/srv/acme/widgets":                           "",
		"./a:b/c":                                     "",
		"acme/widgets":                                "",
		"ext::sh -c date% acme/widgets":               "",
		"https://a\nb/acme/widgets":                   "",
		"u:https://x@github.com/acme/widgets":         "",
		"https://github.com/acme/widgets?x=y#ghs_abc": "github.com acme/widgets",
		"": "",
	} {
		host, repo, ok := repositoryOf(remote, &config.Workspace{})
		if got := host + " " + repo; ok != (want != "") || ok && got != want {
			t.Errorf("repositoryOf(%q) = %q, %v, want %q", remote, got, ok, want)
		}
	}
}

// For every remote, the report contains only a host and a repository.
func FuzzRepositoryOf(f *testing.F) {
	for _, s := range []string{widgets, "git@github.com:acme/widgets.git", "a@b:c@d/e", "://", "ssh://[::1]:22/a/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, remote string) {
		host, repo, ok := repositoryOf(remote, &config.Workspace{})
		if ok && strings.ContainsAny(host+repo, "@ ?#\n\x00%") {
			t.Errorf("repositoryOf(%q) = %q, %q", remote, host, repo)
		}
	})
}

package server

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/forward"
)

// helperVariable makes this test program git's credential helper.
const helperVariable = "GATEPASS_TEST_AS_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		os.Exit(forward.Helper(os.Args[1], forward.Environment{
			Getenv: os.Getenv, Getwd: os.Getwd, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		}))
	}
	// gatepass does not trust a workspace file below a directory that the group can
	// write to.
	syscall.Umask(syscall.Umask(0o077) | 0o022)
	os.Exit(m.Run())
}

// gits is a world with a repository, and files of its own for every scope.
type gits struct {
	*world
	dir string
	env []string
}

// newGits starts a server; the git that asks also has env.
func newGits(t *testing.T, workspace string, env ...string) *gits {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows the asking process")
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not on PATH")
	}
	g := &gits{world: newWorld(t), dir: t.TempDir()}
	g.write(workspace)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	g.env = []string{
		helperVariable + "=1", "GATEPASS_CONFIG=" + g.config, "XDG_RUNTIME_DIR=" + g.getenv("XDG_RUNTIME_DIR"),
		"HOME=" + g.dir, "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_SYSTEM=" + filepath.Join(g.dir, "system"),
		"GIT_TERMINAL_PROMPT=0", "GORACE=atexit_sleep_ms=0",
	}
	g.git("init", "-q", "work")
	g.git("config", "--global", "credential.helper", "!'"+self+"'")
	g.git("config", "--global", "credential.useHttpPath", "true")
	runtimeDir := g.getenv("XDG_RUNTIME_DIR")
	g.getenv = func(name string) string {
		values := map[string]string{"XDG_RUNTIME_DIR": runtimeDir}
		for _, pair := range append(slices.Clone(g.env), env...) {
			key, value, _ := strings.Cut(pair, "=")
			values[key] = value
		}
		return values[name]
	}
	if g.place, err = agent.Locate(g.config, g.getenv); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := g.run(ctx, &Server{})
	t.Cleanup(func() { cancel(); <-done })
	return g
}

// git runs git; output holds both streams.
func (g *gits) git(args ...string) (output string, ok bool) {
	g.t.Helper()
	cmd := exec.CommandContext(g.t.Context(), "git", args...)
	cmd.Dir, cmd.Env = g.dir, g.env
	cmd.Stdin = strings.NewReader(widgets)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func TestStrictLooksAtTheAskingGit(t *testing.T) {
	type scene struct {
		name string
		set  []string // git config arguments, in the repository
		git  []string // options of the asking git
		env  []string
		want string // part of the refusal; "" if a token is given
	}
	in := func(scope string, keyAndValue ...string) []string { return append([]string{scope}, keyAndValue...) }
	for _, c := range []scene{
		{name: "a healthy configuration"},
		{name: "the repository turns TLS verification off", set: in("--local", "http.sslVerify", "false"), want: "http.sslverify=false (local scope) turns TLS verification off"},
		{name: "for this host only", set: in("--local", "http.https://github.com/.sslVerify", "false"), want: "(local scope)"},
		{name: "for another host", set: in("--local", "http.https://git.example/.sslVerify", "false")},
		{name: "the system names a proxy", set: in("--system", "http.proxy", "http://proxy.example")},
		{name: "the user names a proxy", set: in("--global", "http.https://github.com.proxy", "http://proxy.example")},
		{name: "the repository names a proxy", set: in("--local", "http.proxy", "http://evil.example"), want: "http.proxy=http://evil.example (local scope) sends the connection through a proxy"},
		{name: "the command line names a proxy", git: []string{"-c", "http.proxy=http://evil.example"}, want: "(command scope)"},
		{name: "the command line takes a proxy back", git: []string{"-c", "http.proxy="}},
		{name: "variables name a proxy", env: []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.proxy", "GIT_CONFIG_VALUE_0=x:1"}, want: "(command scope)"},
		{name: "a variable turns TLS verification off", env: []string{"GIT_SSL_NO_VERIFY=1"}, want: "GIT_SSL_NO_VERIFY (environment)"},
		{name: "a variable hides the configuration from git config", set: in("--local", "http.sslVerify", "false"), env: []string{"GIT_CONFIG=/dev/null"}, want: "(local scope)"},
		{name: "the environment names a proxy", env: []string{"https_proxy=http://proxy.example"}},
		{name: "URLs of another host lead here", set: in("--local", "url.https://github.com/.insteadOf", "https://good.example/"), want: "rewrites URLs"},
		{name: "ssh URLs of the host lead here", set: in("--local", "url.https://github.com/.insteadOf", "git@github.com:")},
		// git gives every helper the token that worked; these store it in a place of
		// their choice
		{name: "the system has another helper", set: in("--system", "credential.helper", "store")},
		{name: "the user has another helper", set: in("--global", "--add", "credential.helper", "store")},
		{name: "the repository has a helper", set: in("--local", "credential.helper", "store"), want: "credential.helper=store (local scope) tells another program the token"},
		{name: "for this host only", set: in("--local", "credential.https://github.com.helper", "cache"), want: "(local scope) tells"},
		{name: "for another host", set: in("--local", "credential.https://git.example.helper", "store")},
		{name: "the command line has a helper", git: []string{"-c", "credential.helper=!cat >>/tmp/x"}, want: "(command scope) tells"},
		{name: "the command line takes the repository's helper back", set: in("--local", "credential.helper", "store"), git: []string{"-c", "credential.helper=", "-c", "credential.helper=!'" + os.Args[0] + "'"}, want: "(command scope) tells"},
		{name: "the repository names ours", set: in("--local", "credential.helper", os.Args[0])},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGits(t, workspaceFile+"strict: true\n", c.env...)
			if c.set != nil {
				g.git(append([]string{"-C", "work", "config"}, c.set...)...)
			}
			g.env = append(g.env, c.env...)
			out, ok := g.git(append(append([]string{"-C", "work"}, c.git...), "credential", "fill")...)
			given := strings.Contains(out, "password=tok-")
			if given != (c.want == "") || ok != given || !strings.Contains(out, c.want) {
				t.Errorf("git credential fill = %v, %q, want %q", ok, out, c.want)
			}
			if !given && (g.calls.Load() != 0 || !strings.Contains(out, "told us to quit") || strings.Count(out, "gatepass: ") != 1) {
				t.Errorf("git credential fill = %q after %d calls of the source, want one line, quit=1 and none", out, g.calls.Load())
			}
		})
	}
}

// git 2.46 and later can be told that a credential is ephemeral, and the helpers that
// git finds by name do not store one that is. A helper that is a shell command or a
// path is unknown, and may store it.
func TestStrictHelpersThatAreToldOfAnEphemeralToken(t *testing.T) {
	for helper, want := range map[string]bool{
		"gatepass": true, "store": true, "cache --timeout=60": true,
		"!cat": false, "/tmp/helper": false, "store; cat": false, "store $(cat)": false, "store --file=/tmp/x": false,
	} {
		if got := (caller{os.Getpid()}).mayReceiveToken(helper, true); got != want {
			t.Errorf("mayBeTold(%q, ephemeral) = %v, want %v", helper, got, want)
		}
		if got := (caller{os.Getpid()}).mayReceiveToken(helper, false); got != (helper == "gatepass") {
			t.Errorf("mayBeTold(%q) = %v", helper, got)
		}
	}
}

func TestWithoutStrictTheConfigurationIsNotLookedAt(t *testing.T) {
	g := newGits(t, workspaceFile)
	if out, ok := g.git("-c", "http.sslVerify=false", "credential", "fill"); !ok || !strings.Contains(out, "password=tok-") {
		t.Errorf("git credential fill = %v, %q, want a token", ok, out)
	}
}

func TestStrictRefusesWhatItCannotSee(t *testing.T) {
	w := newWorld(t)
	w.write(workspaceFile + "strict: true\n")
	s := &Server{Config: w.config, Open: w.open}
	s.prepare()
	for name, pid := range map[string]int{"no process": 0, "a process that is gone": 1 << 30} {
		call := agent.Call{Operation: agent.Get, Config: w.config, Timeout: gitWait, Payload: []byte(widgets)}
		r := s.answer(t.Context(), call, pid)
		if string(r.Stdout) != "quit=1\n" || !strings.Contains(string(r.Stderr), "the workspace is strict, and gatepass cannot see how git would connect") {
			t.Errorf("%s: get = %q, %q, want it refused", name, r.Stdout, r.Stderr)
		}
		call.Operation = agent.Password
		if r := s.answer(t.Context(), call, pid); r.Exit != 1 || len(r.Stdout) > 0 {
			t.Errorf("%s: password = %d, %q, want it refused", name, r.Exit, r.Stdout)
		}
		for _, operation := range []string{agent.Token, agent.TokenRead, agent.TokenWrite} {
			call.Operation = operation
			if r := s.answer(t.Context(), call, pid); r.Exit != 1 || len(r.Stdout) > 0 || !strings.Contains(string(r.Stderr), "the workspace is strict, and gatepass cannot see how git would connect") {
				t.Errorf("%s: %s = %d, %q, want it refused", name, operation, r.Exit, r.Stdout)
			}
		}
		for _, other := range []string{"protocol=https\nhost=evil.example\n\n", "protocol=http\nhost=github.com\npath=acme/x\n\n"} {
			call.Operation, call.Payload = agent.Get, []byte(other)
			if r := s.answer(t.Context(), call, pid); len(r.Stdout)+len(r.Stderr) > 0 {
				t.Errorf("%s: get %q = %q, %q, want silence", name, other, r.Stdout, r.Stderr)
			}
		}
	}
	if w.calls.Load() != 0 {
		t.Errorf("the source was asked %d times, want never", w.calls.Load())
	}
}

package server

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/gitsafety"
)

const ownHeader = "Authorization: basic eDp5"

// actions/checkout sets a header of its own in a repository's configuration, and
// version 6 in a file that this includes (actions/checkout#2299). With that and our
// credential the server answers 400.
func TestAGitWithAHeaderOfItsOwnIsSeen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows the asking process")
	}
	const key = "http.https://github.com/.extraheader"
	for _, c := range []struct {
		name string
		git  []string
		env  string
		want bool
	}{
		{name: "nothing"},
		{name: "the repository", git: []string{"config", key, ownHeader}, want: true},
		{name: "any host", git: []string{"config", "http.extraHeader", strings.ToUpper(ownHeader)}, want: true},
		{name: "another host", git: []string{"config", "http.https://git.example/.extraheader", ownHeader}},
		{name: "another header", git: []string{"config", key, "X-Trace: 1"}},
		{name: "the user", git: []string{"config", "--global", key, ownHeader}, want: true},
		{name: "a worktree", git: []string{"config", "--worktree", key, ownHeader}, want: true},
		{name: "an included file", git: []string{"config", "include.path", "../more"}, want: true},
		{name: "one command", env: "'" + key + "=" + ownHeader + "'", want: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			repository := filepath.Join(home, "work")
			t.Setenv("HOME", home)
			t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(home, ".gitconfig"))
			git := func(args ...string) {
				t.Helper()
				if out, err := exec.Command("git", append([]string{"-C", repository}, args...)...).CombinedOutput(); err != nil {
					t.Fatalf("git %v: %v, %s", args, err, out)
				}
			}
			if err := os.MkdirAll(filepath.Join(repository, "below"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(repository, "more"), []byte("[http]\n\textraHeader = "+ownHeader+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			git("init", "-q")
			git("config", "extensions.worktreeConfig", "true")
			if c.git != nil {
				git(c.git...)
			}
			pid := sleeper(t, filepath.Join(repository, "below"), "GIT_CONFIG_PARAMETERS="+c.env)
			if got := (caller{pid}).sendsOwnHeader(t.Context(), gitsafety.Target{Host: "github.com", Path: "acme/widgets"}); got != c.want {
				t.Errorf("sendsOwnHeader = %v, want %v", got, c.want)
			}
		})
	}
}

// sleeper starts a process that sleeps in dir until the test ends. Its environment is
// readable only a moment after its start.
func sleeper(t *testing.T, dir, variable string) (pid int) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), variable)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if environ, err := (caller{cmd.Process.Pid}).environ(); err == nil && slices.Contains(environ, variable) {
			return cmd.Process.Pid
		}
	}
	t.Fatal("the environment of a process cannot be read")
	return 0
}

// A refusal of the repository's own header means nothing for our token: that remains
// for every other repository of the workspace.
func TestARequestBesideAHeaderOfItsOwn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows the asking process")
	}
	pid := sleeper(t, t.TempDir(), "GIT_CONFIG_PARAMETERS='http.extraheader="+ownHeader+"'")
	req := credential.Request{Protocol: "https", Host: "github.com", AuthType: true, Multi: true, State: []string{"gatepass.x"}}
	if applyOwnHeader(t.Context(), agent.Get, pid, &req) || req.AuthType || req.Multi || req.State != nil {
		t.Errorf("get = %+v, want a user name and password to be answered, and the state passed over", req)
	}
	if !applyOwnHeader(t.Context(), agent.Erase, pid, &req) {
		t.Error("erase is heeded, want it passed over")
	}
	req = credential.Request{Protocol: "https", Host: "github.com", AuthType: true}
	if applyOwnHeader(t.Context(), agent.Erase, os.Getpid(), &req) || !req.AuthType {
		t.Error("erase without such a header is passed over")
	}
}

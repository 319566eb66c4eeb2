package server

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestCommandOperation(t *testing.T) {
	for command, want := range map[string]string{
		"git push origin main":                      write,
		"git -C /x -c a.b=c --git-dir /y push":      write,
		"git --no-pager fetch":                      read,
		"/usr/bin/git clone https://github.com/a/b": read,
		"git pull":                   read,
		"git ls-remote origin":       read,
		"/usr/lib/git-core/git-push": write,
		"git send-pack x":            write,
		"git remote-https origin https://github.com/a/b": "",
		"/usr/lib/git-core/git-remote-https origin x":    "",
		"git credential fill":                            "",
		"git lfs pre-push origin x":                      write,
		"git-lfs filter-process":                         read,
		"git-lfs push":                                   write,
		"sh -c git push":                                 "",
		"git":                                            "",
		"git -C":                                         "",
		"cargo build":                                    "",
		"git checkout main":                              "",
	} {
		if got := commandOperation(strings.Fields(command)); got != want {
			t.Errorf("commandOperation(%q) = %q, want %q", command, got, want)
		}
	}
}

func TestGitOperationLooksUpwards(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("missing: /proc")
	}
	// A process named git-fetch with a child sh, as a helper would be run.
	cmd := exec.Command("sh", "-c", "read x")
	cmd.Args = []string{"git-fetch", "-c", "sh -c 'read x; :' & echo $!; wait"}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	buf := make([]byte, 32)
	n, _ := out.Read(buf)
	if n == 0 {
		t.Fatal("no process id from the shell")
	}
	if got := gitOperation(cmd.Process.Pid); got != read {
		t.Errorf("gitOperation = %q, want read", got)
	}
	if got := gitOperation(1 << 30); got != write {
		t.Errorf("gitOperation of no process = %q, want write", got)
	}
}

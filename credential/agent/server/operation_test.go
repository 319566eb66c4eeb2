package server

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	// A process named git-fetch whose child sh stays until its input ends, as a
	// helper would be run. The kernel takes the name from the path.
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	fetch := filepath.Join(t.TempDir(), "git-fetch")
	if err := os.Symlink(sh, fetch); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(fetch)
	cmd.Args = []string{"git-fetch", "-c", "sh -c 'echo $$; read x; :'; :"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil {
		t.Fatalf("no process id from the shell: %v", err)
	}
	if got := gitOperation(child); got != read {
		t.Errorf("gitOperation = %q, want read", got)
	}
	if got := gitOperation(1 << 30); got != write {
		t.Errorf("gitOperation of no process = %q, want write", got)
	}
}

func TestMayDecide(t *testing.T) {
	for name, want := range map[string]bool{
		"git": true, "git-push": true, "git-lfs": true, ".git-wrapped": true,
		"git-remote-http": false, "git-credential-": false, "sh": false, "": false,
	} {
		if got := mayDecide(name); got != want {
			t.Errorf("mayDecide(%q) = %v, want %v", name, got, want)
		}
	}
}

package server

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestAskedByLFS(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("missing: /proc")
	}
	for names, want := range map[string]bool{
		"git-lfs":                      true,
		"git-lfs > git-credential":     true,
		"git-lfs > git-remote-https":   false, // the git that git-lfs itself runs
		"git-push > git-remote-https":  false,
		"git-push > git-lfs > git-cat": true,
		"git-push > git-credential":    false,
	} {
		if got := askedByLFS(descend(t, strings.Split(names, " > "))); got != want {
			t.Errorf("askedByLFS below %s = %v, want %v", names, got, want)
		}
	}
}

// descend starts processes with these names, each the child of the one before, and
// returns the ID of a child of the last.
func descend(t *testing.T, names []string) (pid int) {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("missing: sh")
	}
	dir := t.TempDir()
	script := "sh -c 'echo $$; read end'; :"
	var env []string
	for i := len(names) - 1; i >= 0; i-- {
		program, variable := filepath.Join(dir, names[i]), "SCRIPT"+strconv.Itoa(i)
		if err := os.Symlink(sh, program); err != nil {
			t.Fatal(err)
		}
		env = append(env, variable+"="+script)
		script = `"` + program + `" -c "$` + variable + `"; :`
	}
	cmd := exec.Command(sh, "-c", script)
	cmd.Env = append(os.Environ(), env...)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal("no process id from the shell: ", err)
	}
	return pid
}

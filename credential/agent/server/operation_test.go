package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

func TestOperationOfACommand(t *testing.T) {
	for line, want := range map[string]string{
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
		"git lfs lock a":                                 either,
		"git lfs prune":                                  either,
		"sh -c git push":                                 "",
		"git":                                            "",
		"git -C":                                         "",
		"cargo build":                                    "",
		"git checkout main":                              "",
	} {
		command, args := commandOf(strings.Fields(line))
		if got := operationOf(command, args); got != want {
			t.Errorf("the operation of %q = %q, want %q", line, got, want)
		}
	}
}

// under runs processes with these command lines, each the parent of the next, and
// returns the ID of the last one's child, which runs like a helper. All are shells that
// take their first argument as a script: the kernel takes a process's name from the
// path, which is a link.
func under(t *testing.T, lines ...string) (pid int) {
	t.Helper()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("missing: /proc")
	}
	dash, err := exec.LookPath("dash")
	if err != nil {
		t.Skip("missing: dash")
	}
	script := "sh -c 'echo $$; read x; :'; :"
	for i := len(lines) - 1; i >= 0; i-- {
		words := append(strings.Fields(lines[i]), "script")
		dir := t.TempDir()
		program := filepath.Join(dir, "bin", words[0])
		if err := os.Mkdir(filepath.Dir(program), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(dash, program); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, words[1]), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		script = "cd '" + dir + "'; '" + program + "' " + strings.Join(words[1:], " ") + "; :"
	}
	cmd := exec.Command(dash, "-c", script)
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
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatalf("no process id from the shell: %v", err)
	}
	return pid
}

// A process that is not known to push counts as reading if git itself talks to the
// server. A program with a git client of its own may do either.
func TestGitOperationOfProcesses(t *testing.T) {
	for _, c := range []struct {
		want  string
		lines []string
	}{
		{read, []string{"git remote show origin", "git remote-https origin x", "git-remote-https origin x"}},
		{read, []string{"git remote prune origin", "git remote-https origin x"}},
		{read, []string{"git frobnicate", "git-remote-https origin x"}},
		{read, []string{"git fetch", "git-remote-https origin x"}},
		{write, []string{"git push origin main", "git remote-https origin x", "git-remote-https origin x"}},
		{write, []string{"git push origin main", "tool", "git credential fill"}},
		{write, []string{"git push", "git-lfs pre-push origin", "git credential fill"}},
		{read, []string{"git push", "sh", "git fetch", "git-remote-https origin x"}},
		{either, []string{"tool", "git credential fill"}},
		{either, []string{"git frobnicate", "git credential fill"}},
		{either, []string{"git-remote-https origin x"}},
		{either, []string{"cargo build"}},
	} {
		t.Run(strings.Join(c.lines, ", "), func(t *testing.T) {
			if got := gitOperation(under(t, c.lines...)); got != c.want {
				t.Errorf("gitOperation = %q, want %q", got, c.want)
			}
		})
	}
}

// readOnly is a source that refuses writing, or everything.
type readOnly struct {
	operationSource
	nothing bool
	asked   []string
}

func (s *readOnly) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	s.asked = append(s.asked, req.Operation)
	if s.nothing || req.Operation != read {
		return credential.Token{}, &usererr.Error{Op: "ask", Reason: "no " + req.Operation, Err: api.NewProblem(403, "")}
	}
	return s.operationSource.Token(ctx, req)
}

func TestEitherReadsWhereWritingIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		source    credential.Source
		operation string
		want      string // the token, or the reason
	}{
		"either, and writing is allowed": {operationSource{}, either, "tok-write"},
		"either, and writing is refused": {&readOnly{}, either, "tok-read"},
		"either, and both are refused":   {&readOnly{nothing: true}, either, "no write"},
		"a push":                         {&readOnly{}, write, "no write"},
		"a fetch":                        {&readOnly{}, read, "tok-read"},
	} {
		tok, err := orRead{c.source}.Token(t.Context(), credential.Request{Operation: c.operation})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = tok.Secret()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	failing := credential.SourceFunc(func(context.Context, credential.Request) (credential.Token, error) {
		return credential.Token{}, &usererr.Error{Op: "ask", Reason: "busy", Err: api.NewProblem(503, "")}
	})
	if _, err := (orRead{failing}).Token(t.Context(), credential.Request{Operation: either}); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a source in trouble = %v, want its trouble", err)
	}
}

func TestGitOperationLooksUpwards(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("missing: /proc")
	}
	// A process named git-fetch whose child sh runs until its input ends, like a
	// helper. The kernel takes the name from the path.
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
	if got := gitOperation(1 << 30); got != either {
		t.Errorf("gitOperation of no process = %q, want either", got)
	}
}

func TestMayDecide(t *testing.T) {
	for name, want := range map[string]bool{
		"git": true, "git-push": true, "git-lfs": true, ".git-wrapped": true,
		"git-remote-http": true, "git-credential-": false, "sh": false, "": false,
	} {
		if got := mayDecide(name); got != want {
			t.Errorf("mayDecide(%q) = %v, want %v", name, got, want)
		}
	}
}

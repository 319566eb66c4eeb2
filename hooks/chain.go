package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A Hook is one call of a client hook by git.
type Hook struct {
	Event          string
	Args           []string  // from git
	Stdin          io.Reader // for the hook; a file is passed on directly
	Stdout, Stderr io.Writer
}

// Chain runs the hook that git would have run without gatepass, and returns its exit
// code, or 0 if there is no hook. It is the hook in
//
//   - the core.hooksPath that the installer replaced ([ChainPathKey]), else
//   - the core.hooksPath of the next wider scope below ours, else
//   - the hooks directory of the repository.
//
// If that hook calls this program again, the second call does nothing.
func (h Hook) Chain(ctx context.Context, r *Repository) (exitCode int, err error) {
	parent := os.Getppid()
	git := nearestGit(r.above, parent)
	mark := readMark(os.Getenv(chainMark))
	switch {
	case mark.covers(h.Event, git, parent):
		return 0, nil
	case mark.depth >= maxDepth:
		return 0, fmt.Errorf("hooks call each other %d deep", maxDepth)
	}
	dir := r.chainDir(h.Event)
	path := filepath.Join(dir, h.Event)
	if dir == "" || !h.runnable(path) {
		return 0, nil
	}
	next := mark.next(h.Event, git)
	return h.run(ctx, path, append(os.Environ(), chainMark+"="+next.String()))
}

// runnable reports whether git would run the file, and prints a message if only the
// permission is missing.
func (h Hook) runnable(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if info.Mode()&0o111 == 0 {
		fmt.Fprintf(h.Stderr, "gatepass: the repository's %s hook is ignored: it is not executable\n", h.Event)
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	return !isSelf(f)
}

func (h Hook) run(ctx context.Context, path string, env []string) (int, error) {
	code, err := h.start(ctx, env, path)
	if errors.Is(err, syscall.ENOEXEC) {
		// Like git, run a script without "#!" with sh.
		code, err = h.start(ctx, env, "/bin/sh", path)
	}
	return code, err
}

func (h Hook) start(ctx context.Context, env []string, command ...string) (int, error) {
	cmd := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], h.Args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = h.Stdin, h.Stdout, h.Stderr, env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	exit, exited := errors.AsType[*exec.ExitError](err)
	if !exited {
		// The hook may leave its input unread, or leave a child that holds its output.
		if errors.Is(err, exec.ErrWaitDelay) {
			err = nil
		}
		return 0, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// chainDir returns the hooks directory that git would have used; "" for none. "git
// rev-parse --git-path hooks" does not tell: it names ours.
func (r *Repository) chainDir(event string) string {
	if dir, ok := r.nextHooksPath(event); ok {
		return dir
	}
	if r.common == "" {
		return ""
	}
	return filepath.Join(r.common, "hooks")
}

// nextHooksPath returns the core.hooksPath that would apply without ours. The one in
// effect made git call this program, so it is ours, whatever it contains.
func (s settings) nextHooksPath(event string) (dir string, ok bool) {
	if s.chained {
		return expandHome(s.chainPath), true
	}
	for i, path := range s.hooksPaths {
		dir := expandHome(path)
		if i > 0 && dir != expandHome(s.hooksPaths[0]) && !IsShim(filepath.Join(dir, event)) {
			return dir, true
		}
	}
	return "", false
}

// chainMark is an environment variable. It distinguishes a hook that calls this program
// again from a new push inside a hook.
const (
	chainMark = "GATEPASS_CHAIN"
	maxDepth  = 8
)

// A mark records which hook is being chained, for which git, and by which process.
type mark struct {
	event           string
	git, dispatcher int
	depth           int
}

func readMark(s string) mark {
	var m mark
	if _, err := fmt.Sscanf(s, "%s %d %d %d", &m.event, &m.git, &m.dispatcher, &m.depth); err != nil {
		return mark{}
	}
	return m
}

func (m mark) String() string {
	return fmt.Sprintf("%s %d %d %d", m.event, m.git, m.dispatcher, m.depth)
}

// covers reports whether the call of event by git, through parent, belongs to the chain
// that m marks.
func (m mark) covers(event string, git, parent int) bool {
	return m.event == event && (m.git == git || m.dispatcher == parent)
}

func (m mark) next(event string, git int) mark {
	return mark{event, git, os.Getpid(), m.depth + 1}
}

package hooks

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/hooks/refs"
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

// Become replaces this process with the shell that runs the shim's script. It returns
// only if there is no hook to run, or with an error. args are the program's name and
// the arguments from git.
func (s Shim) Become(args []string) error {
	if !hasOwn(s.Event) {
		return nil
	}
	return syscall.Exec("/bin/sh", append([]string{"sh", "-c", s.Text()}, args...), os.Environ())
}

// hasOwn reports whether the repository may have its own hook. It looks in the same
// places as the script, to avoid starting the script for nothing.
func hasOwn(event string) bool {
	common := os.Getenv("GIT_COMMON_DIR")
	dir := cmp.Or(common, os.Getenv("GIT_DIR"), ".git")
	if file := firstLine(dir); file != "" {
		dir = strings.TrimPrefix(file, "gitdir: ")
	}
	if shared := firstLine(filepath.Join(dir, "commondir")); shared != "" && common == "" {
		if !filepath.IsAbs(shared) {
			shared = filepath.Join(dir, shared)
		}
		dir = shared
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "hooks", event))
	return !errors.Is(err, fs.ErrNotExist)
}

// firstLine returns the first line of a file; "" if it cannot be read.
func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

const (
	maxWalked = 200_000   // commits read by one walk
	maxSteps  = 5_000_000 // parents followed in them, for all changes together
)

// walk proves fast-forwards of many changes with a single git: it lists the commits of
// the new tips that the old ones lack, with parents, and follows the parents. A proof
// is a chain of parents from the new commit to the old one. A missing proof means
// nothing: the chain may pass through commits that another old tip has too.
func walk(ctx context.Context, changes []refs.Change) map[refs.Change]bool {
	var in bytes.Buffer
	for _, c := range changes {
		fmt.Fprintf(&in, "%s\n^%s\n", c.New, c.Old)
	}
	cmd := offlineGit(ctx, "rev-list", "--ignore-missing", "--parents", fmt.Sprintf("--max-count=%d", maxWalked), "--stdin")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	parents := make(map[string][]string)
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		commit := strings.Fields(lines.Text())
		parents[commit[0]] = commit[1:]
	}
	proven := make(map[refs.Change]bool, len(changes))
	steps := maxSteps
	for _, c := range changes {
		proven[c] = reaches(parents, c, &steps)
	}
	return proven
}

// reaches reports whether the parents of c.New lead to c.Old, within the remaining
// steps.
func reaches(parents map[string][]string, c refs.Change, steps *int) bool {
	seen := map[string]bool{c.New: true}
	for todo := []string{c.New}; len(todo) > 0; {
		commit := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, parent := range parents[commit] {
			if *steps--; *steps < 0 {
				return false
			}
			if parent == c.Old {
				return true
			}
			if !seen[parent] {
				seen[parent] = true
				todo = append(todo, parent)
			}
		}
	}
	return false
}

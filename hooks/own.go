package hooks

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Become runs, in place of this process, what the script of the shim runs. It
// returns only where there is no hook to run, or with an error. args are those
// of this program: its name, and what git gave it.
func (s Shim) Become(args []string) error {
	if !hasOwn(s.Event) {
		return nil
	}
	return syscall.Exec("/bin/sh", append([]string{"sh", "-c", s.Text()}, args...), os.Environ())
}

// hasOwn reports whether the repository may have a hook of its own: it looks
// where the script looks, which must not be started for nothing.
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

// firstLine returns the first line of a file, "" where it cannot be read.
func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

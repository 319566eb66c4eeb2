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

package doctor

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/install"
	"github.com/gatepass/gatepass/internal/gitconfig"
)

const (
	enabledKey   = install.HookSection + ".enabled"
	commandKey   = install.HookSection + ".command"
	eventKey     = install.HookSection + ".event"
	allHooksKey  = "hook." + hooks.PrePush + ".enabled"
	hooksPathKey = "core.hookspath"
)

// A hookCheck checks whether git runs the guard.
type hookCheck struct{ *setup }

// check reports how git runs the guard in this directory, and what prevents it.
func (c hookCheck) check(ctx context.Context) []Finding {
	g, ok := c.git()
	if !ok || c.gitErr != nil {
		return nil
	}
	modern := g.AtLeast(2, 54)
	off := c.disabled(modern)
	path := gitconfig.Last(c.settings, hooksPathKey)
	dir := c.hooksDir(ctx, path)
	switch {
	case modern && c.configuredHook() && len(off) == 0:
		return []Finding{c.configuredFinding(g)}
	case dir != "" && runsGuard(dir):
		return append(off, Finding{Level: OK, Text: "git " + g.Version() + " runs the guard from core.hooksPath (" + where(*path) + ")"})
	case len(off) > 0 && modern:
		return off
	case path != nil:
		return append(off, c.otherHooksPath(g, *path))
	}
	return append(off, Finding{Level: Failure, Text: "nothing makes git " + g.Version() + " run the guard: a push is not checked", Fix: "gatepass install"})
}

// configuredHook reports whether hook.gatepass runs our guard before a push. An empty
// event drops those before it.
func (c hookCheck) configuredHook() bool {
	command := gitconfig.Last(c.settings, commandKey)
	if command == nil {
		return false
	}
	event := false
	for _, s := range c.settings {
		if s.Key == eventKey {
			event = s.Value == hooks.PrePush || event && s.Value != ""
		}
	}
	_, ours := install.GuardPath(command.Value)
	return ours && event
}

func (c hookCheck) configuredFinding(g install.Git) Finding {
	command := gitconfig.Last(c.settings, commandKey)
	path, _ := install.GuardPath(command.Value)
	if why := whyNotRunnable(path); why != "" {
		return Finding{Level: Failure, Text: "git " + g.Version() + " would run the guard (" + where(*command) + "), but " + why, Fix: "gatepass install"}
	}
	return Finding{Level: OK, Text: "git " + g.Version() + " runs the guard as " + install.HookSection + " (" + where(*command) + ")"}
}

// disabled finds the two settings that switch configured hooks off. Older git knows
// neither.
func (c hookCheck) disabled(modern bool) []Finding {
	var found []Finding
	for _, key := range []string{enabledKey, allHooksKey} {
		s := gitconfig.Last(c.settings, key)
		if s == nil || s.True() {
			continue
		}
		f := Finding{Level: Failure, Text: key + "=" + s.Value + " (" + where(*s) + ") disables the guard", Fix: unset(*s)}
		if !modern {
			f.Level, f.Text = Warning, f.Text+" for git 2.54 and later"
		}
		found = append(found, f)
	}
	return found
}

// otherHooksPath reports that another core.hooksPath is in effect.
func (c hookCheck) otherHooksPath(g install.Git, path gitconfig.Setting) Finding {
	f := Finding{
		Level: Failure, Text: "core.hooksPath=" + path.Value + " (" + where(path) + ") stops git " + g.Version() + " from running the guard",
		Fix: "gatepass install",
	}
	if !path.Trusted() {
		f.Text += ", as husky and its like do"
		f.Fix = unset(path) + `, or run gatepass-pre-push "$@" at the start of its pre-push`
	}
	return f
}

// hooksDir returns the directory of a core.hooksPath: git expands a home directory, and
// a relative path starts at the top of the worktree.
func (c hookCheck) hooksDir(ctx context.Context, path *gitconfig.Setting) string {
	if path == nil || path.Value == "" {
		return ""
	}
	dir := path.Value
	if strings.HasPrefix(dir, "~") {
		out, _, err := run(ctx, c.Dir, plainEnvironment(c.Environ), "git", "config", "--path", "--get", hooksPathKey)
		if err != nil {
			return ""
		}
		dir = strings.TrimSuffix(string(out), "\n")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(c.worktree(), dir)
	}
	return dir
}

// worktree returns the nearest directory at or above the working directory with a .git,
// or else the working directory.
func (c hookCheck) worktree() string {
	for dir := c.Dir; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return c.Dir
		}
	}
}

// runsGuard reports whether the pre-push hook in dir is our shim, or calls the guard,
// as people add it to their own hooks.
func runsGuard(dir string) bool {
	path := filepath.Join(dir, hooks.PrePush)
	if whyNotRunnable(path) != "" {
		return false
	}
	if hooks.IsShim(path) {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return err == nil && bytes.Contains(text, []byte("gatepass-pre-push"))
}

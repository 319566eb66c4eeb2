// Package hooks implements the pre-push guard: it reads the history behind a push from
// git, and replaces the hooks that a core.hooksPath of ours hides.
//
// Package refs decides on the push. Then the repository's own hook runs as if git had
// called it ([Hook]).
//
// The guard runs as the user it guards. It stops mistakes, not a determined program:
// "git push --no-verify" bypasses it.
package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ChainPathKey is the git setting in which the installer records the core.hooksPath
// that it replaced, in the same file.
const ChainPathKey = "gatepass.chainHooksPath"

// A Repository is the environment of a hook: the processes above it, git's settings,
// and the repository in the current directory.
type Repository struct {
	settings
	common string    // the git directory that all worktrees share
	above  []process // nearest first; nil if unknown
}

// ReadRepository asks git about the repository in the current directory.
func ReadRepository(ctx context.Context) (*Repository, error) {
	r := &Repository{above: ancestors()}
	var settingsErr, commonErr error
	var wg sync.WaitGroup
	wg.Go(func() { r.settings, settingsErr = readSettings(ctx) })
	wg.Go(func() { r.common, commonErr = commonDir(ctx) })
	wg.Wait()
	return r, cmp.Or(settingsErr, commonErr)
}

// commonDir returns the git directory that all worktrees share; "" outside of a
// repository. In the plain case, which is nearly every one, it finds the directory
// without starting git.
func commonDir(ctx context.Context) (string, error) {
	if plainRepository() {
		return ".git", nil
	}
	out, err := gitCommand(ctx, "rev-parse", "--git-common-dir").Output()
	if _, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		return "", nil // there is no repository, and so no hook of one
	}
	if err != nil {
		return "", fmt.Errorf("git rev-parse: %w", err)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// plainRepository reports whether the current directory contains its whole git
// directory and no variable names another one.
func plainRepository() bool {
	if os.Getenv("GIT_DIR") != "" || os.Getenv("GIT_COMMON_DIR") != "" {
		return false
	}
	dotGit, err := os.Lstat(".git")
	_, headErr := os.Lstat(".git/HEAD")
	_, commonErr := os.Lstat(".git/commondir")
	return err == nil && dotGit.IsDir() && headErr == nil && errors.Is(commonErr, fs.ErrNotExist)
}

// settings are the git settings that the guard needs.
type settings struct {
	hooksPaths []string          // every core.hooksPath, the one in effect first
	chainPath  string            // ChainPathKey
	chained    bool              // whether chainPath is set
	mirrors    []string          // the remotes with mirror=true
	programs   map[string]string // for each remote, its vcs or receivepack
	configured string            // hook.gatepass.command
}

const settingKeys = `^(core\.hookspath|gatepass\.chainhookspath|hook\.gatepass\.command|remote\..*\.(mirror|vcs|receivepack))$`

// InstalledGateway returns the gateway that gatepass install configured in git, for
// this user or this machine; "" for none. It ignores the settings of a repository, of
// one command and of the environment.
func InstalledGateway(ctx context.Context) string {
	cmd := gitCommand(ctx, "config", "--null", "--show-scope", "--get-all", "gatepass.gateway")
	cmd.Env = withoutConfigVariable()
	out, err := cmd.Output()
	if err != nil { // not set, or a git older than 2.26, which cannot tell the scope
		return ""
	}
	gateway := ""
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "system" || fields[i] == "global" {
			gateway = fields[i+1]
		}
	}
	return gateway
}

// withoutConfigVariable returns the environment without GIT_CONFIG, which makes "git
// config" read another file than git push.
func withoutConfigVariable() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "GIT_CONFIG=") })
}

// readSettings reads all settings with one git command. Exit code 1 means that none is
// set.
func readSettings(ctx context.Context) (settings, error) {
	cmd := gitCommand(ctx, "config", "--null", "--get-regexp", settingKeys)
	cmd.Env = withoutConfigVariable()
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return settings{}, nil
	}
	if err != nil {
		return settings{}, fmt.Errorf("git config: %w", err)
	}
	return parseSettings(string(out)), nil
}

// parseSettings parses "key LF value NUL"; a key without a value has no LF and means
// true. Later entries win.
func parseSettings(out string) settings {
	var s settings
	mirror := map[string]bool{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		key, value, valued := strings.Cut(entry, "\n")
		switch {
		case key == "core.hookspath":
			s.hooksPaths = append(s.hooksPaths, value)
		case key == "gatepass.chainhookspath":
			s.chainPath, s.chained = value, true
		case key == "hook.gatepass.command":
			s.configured = value
		case strings.HasPrefix(key, "remote."):
			name := strings.TrimPrefix(key, "remote.")
			if mirrored, ok := strings.CutSuffix(name, ".mirror"); ok {
				mirror[mirrored] = !valued || !isFalse(value)
			} else if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
				s.addProgram(name[:dot], name[dot+1:], value)
			}
		}
	}
	slices.Reverse(s.hooksPaths)
	for name, on := range mirror {
		if on {
			s.mirrors = append(s.mirrors, name)
		}
	}
	return s
}

// addProgram records the program that reaches a remote. With a vcs, it is never
// git-receive-pack.
func (s *settings) addProgram(remote, key, value string) {
	if s.programs == nil {
		s.programs = map[string]string{}
	}
	if key == "vcs" || s.programs[remote] == remoteHelper {
		value = remoteHelper
	}
	s.programs[remote] = value
}

const remoteHelper = "a remote helper"

// isFalse reports whether git reads value as false. All other values count as true
// here, even those that git would refuse.
func isFalse(value string) bool {
	switch strings.ToLower(value) {
	case "", "false", "no", "off", "0":
		return true
	}
	return false
}

// expandHome replaces a leading ~ or ~user as git does in paths. It returns a path that
// it cannot expand unchanged; such a path names no directory.
func expandHome(path string) string {
	if !strings.HasPrefix(path, "~") {
		return path
	}
	name, rest, _ := strings.Cut(path[1:], "/")
	home := os.Getenv("HOME")
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return path
		}
		home = u.HomeDir
	}
	if home == "" {
		return path
	}
	return filepath.Join(home, rest)
}

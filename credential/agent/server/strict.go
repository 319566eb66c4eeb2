package server

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
	"github.com/gatepass/gatepass/internal/usererr"
)

// gitWait limits the one git command of a strict answer; it usually takes milliseconds.
const gitWait = 5 * time.Second

// checkTransport is the transport guard of a strict workspace. It returns an error if a
// repository, a command line or the environment makes the calling git, found through
// the process pid, weaken TLS or use another route, and also if it cannot find out. It
// allows requests for other hosts and repositories, which other code refuses.
//
// It stops a planted configuration. It does not stop a program of the same user, which
// can put another git before ours.
func (p *pipeline) checkTransport(ctx context.Context, operation string, pid int, req credential.Request) error {
	if !p.workspace.Strict || operation == agent.Erase || operation == agent.Username {
		return nil
	}
	if _, err := p.names.Token(ctx, req); err != nil {
		return nil
	}
	what := "token for https://" + req.Host
	hazard, err := caller{pid}.hazard(ctx, operation, req)
	switch {
	case err != nil:
		return &usererr.Error{
			Op: what, Reason: "the workspace is strict, and gatepass cannot see how git would connect: " + err.Error(), Err: err,
			Hint: "run git where gatepass-agent can see it, or remove strict from " + p.workspace.Path,
		}
	case hazard != nil:
		return usererr.New(what, "the workspace is strict and "+hazard.String()+" "+string(hazard.Kind), remedy(hazard))
	}
	return nil
}

func remedy(h *gitsafety.Hazard) string {
	switch {
	case h.Setting.Scope == gitsafety.EnvironmentScope:
		return "unset the variable"
	case h.Kind == gitsafety.TLSOff || h.Kind == helperHazard:
		return "remove the setting"
	}
	return "remove the setting, or set it for the machine (git config --system)"
}

// A caller is the calling process: git's helper, which has git's directory and
// environment.
type caller struct{ pid int }

var errUnseen = errors.New("the asking process is unknown")

// helperHazard is the hazard of a helper set in a repository or on a command line.
const helperHazard gitsafety.Kind = "tells another program the token"

// hazard returns the first setting that weakens the connection to the target of req or
// gives the token away, unless it was set for the machine or the user.
func (a caller) hazard(ctx context.Context, operation string, req credential.Request) (*gitsafety.Hazard, error) {
	t := gitsafety.Target{Host: req.Host, Path: req.Path}
	environ, err := a.environ()
	if err != nil {
		return nil, err
	}
	list, err := a.settings(ctx, environ)
	if err != nil {
		return nil, err
	}
	for _, h := range append(gitsafety.Environment(environ), t.Hazards(list)...) {
		if !h.Trusted() {
			return &h, nil
		}
	}
	if operation != agent.Get && operation != agent.Password {
		return nil, nil // no git is involved that could pass the token to a helper
	}
	for _, s := range t.Helpers(list) {
		if !a.mayReceiveToken(s.Value, req.AuthType) {
			return &gitsafety.Hazard{Kind: helperHazard, Setting: s}, nil
		}
	}
	return nil, nil
}

// mayReceiveToken reports whether git may pass the token to a helper. It may to our helper,
// by its name or as the calling program. If git can mark a credential as ephemeral
// (2.46 and later, ephemeral true), it may also to a helper that git finds by its name:
// such helpers do not store an ephemeral credential. A shell command or a program given
// by its path may do anything with it.
func (a caller) mayReceiveToken(helper string, ephemeral bool) bool {
	if helper == "gatepass" {
		return true
	}
	if self, err := os.Readlink(procFile(a.pid, "exe")); err == nil && helper == self {
		return true
	}
	return ephemeral && strings.Trim(helper, helperName) == ""
}

// helperName are the characters of a helper's name and options. git runs "git
// credential-NAME" in the shell.
const helperName = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_= "

func (a caller) environ() ([]string, error) {
	if a.pid <= 1 {
		return nil, errUnseen
	}
	data, err := os.ReadFile(procFile(a.pid, "environ"))
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"), nil
}

// settings asks the git that started the asker for its configuration, in the
// asker's directory.
func (a caller) settings(ctx context.Context, environ []string) ([]gitconfig.Setting, error) {
	git, err := a.git(environ)
	if err != nil {
		return nil, err
	}
	dir, err := os.Readlink(procFile(a.pid, "cwd"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, gitWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, git, gitconfig.Arguments()...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, gitEnvironment(environ), gitWait
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New("git config: " + err.Error())
	}
	return gitconfig.Parse(out)
}

// gitEnvironment returns the asker's environment, without variables that make "git
// config" read another file than other git commands do, and without tracing.
func gitEnvironment(environ []string) []string {
	kept := make([]string, 0, len(environ))
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "GIT_CONFIG=") && !strings.HasPrefix(entry, "GIT_TRACE") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// git returns the nearest git above the asker, since each build of git has its own
// system configuration. For a program that calls the agent by itself, it is the git on
// that program's PATH.
func (a caller) git(environ []string) (string, error) {
	pid := a.pid
	var buf [maxProc]byte
	for range maxAncestors {
		if pid <= 1 {
			break
		}
		if exe, err := os.Readlink(procFile(pid, "exe")); err == nil && filepath.Base(exe) == "git" {
			return exe, nil
		}
		pid = parentOf(&buf, pid)
	}
	for _, entry := range environ {
		path, ok := strings.CutPrefix(entry, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			git := filepath.Join(dir, "git")
			if info, err := os.Stat(git); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return git, nil
			}
		}
	}
	return "", errors.New("git is not on its PATH")
}

func procFile(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

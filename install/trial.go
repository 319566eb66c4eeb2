package install

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/shell"
	"github.com/gatepass/gatepass/internal/usererr"
)

// TrialRemote is the remote that [TrialOptions] makes.
const TrialRemote = "gatepass-trial"

// TrialOptions returns git options for a push that tests the guard. Git and its hooks
// see TrialRemote at url, with the user's url.insteadOf applied. The push goes to the
// bare repository dir on this machine, and url is never contacted: git reaches a remote
// with a vcs through the helper of that name, and also looks for the helper among its
// aliases. So no program has to be written to a file system that may not allow running
// it.
func TrialOptions(url, dir string) []string {
	helper := "!f() { unset $(git rev-parse --local-env-vars); while read -r line; do case $line in " +
		`capabilities) printf 'connect\n\n' ;; ` +
		"'connect git-receive-pack') echo; exec git receive-pack " + shell.Quote(dir) + " ;; " +
		"*) exit 1 ;; esac; done; }; f"
	return []string{
		"-c", "remote." + TrialRemote + ".url=" + url,
		"-c", "remote." + TrialRemote + ".vcs=" + TrialRemote,
		"-c", "protocol." + TrialRemote + ".allow=always",
		"-c", "alias.remote-" + TrialRemote + "=" + helper,
	}
}

const (
	trialAllowed = "refs/heads/gatepass/allowed"
	trialRefused = "refs/heads/gatepass/refused"

	policyFile = "policy.yaml" // in the trial's directory

	trialTimeout = time.Minute // for one git command; each usually takes milliseconds
)

// A trial makes test pushes with one git, in a temporary directory.
type trial struct {
	git     string
	host    string
	dir     string
	environ []string
}

// Verify makes two pushes with each git that the plan configured, one that a temporary
// policy allows and one that it refuses, and returns the gits. For an image it runs no
// program of that image: one git of this machine gets the same configuration in a
// temporary home.
//
// environ is the environment of an ordinary git. Verify removes from it what would lead
// git to other repositories or another policy.
func (p *Plan) Verify(ctx context.Context, o Options, environ []string) (verified []string, err error) {
	dir, err := os.MkdirTemp("", "gatepass-trial-")
	if err != nil {
		return nil, usererr.Wrap("verify the install", err, "name another directory with TMPDIR")
	}
	defer os.RemoveAll(dir)
	environ = append(TrialEnvironment(environ), "LC_ALL=C", "HOME="+dir, "XDG_CONFIG_HOME="+filepath.Join(dir, ".config"),
		"GATEPASS_CONFIG="+filepath.Join(dir, policyFile), "GIT_TERMINAL_PROMPT=0")
	gits := p.gits
	if p.Scope == Image {
		gits = gits[:1]
		environ = append(environ, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+filepath.Join(dir, ".gitconfig"))
		if err := p.installHome(ctx, o, dir); err != nil {
			return nil, err
		}
	}
	for _, g := range gits {
		t := trial{git: g.path, host: p.Hosts[0], dir: dir, environ: environ}
		if err := t.run(ctx); err != nil {
			return verified, err
		}
		verified = append(verified, g.path)
	}
	return verified, nil
}

// TrialEnvironment returns environ without variables that would lead git to another
// repository than the trial's, or forbid its transport.
func TrialEnvironment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		switch name, _, _ := strings.Cut(entry, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
			"GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_DEFAULT_HASH", "GIT_ALLOW_PROTOCOL", "GIT_PROTOCOL_FROM_USER":
			return true
		}
		return false
	})
}

// installHome configures git in a temporary home, with the programs that were put into
// an image.
func (p *Plan) installHome(ctx context.Context, o Options, home string) error {
	env := map[string]string{
		"HOME": home, "PATH": o.Getenv("PATH"),
		"GATEPASS_CONFIG": filepath.Join(home, policyFile), "GIT_CONFIG_SYSTEM": os.DevNull, // this machine's configuration says nothing about an image
	}
	plan, err := New(ctx, Options{
		Scope: Global, Hosts: p.Hosts, BinDir: o.From, Guard: o.Guard, PolicyLater: true,
		Getenv: func(name string) string { return env[name] },
	})
	if err != nil {
		return err
	}
	return plan.Apply()
}

func (t trial) run(ctx context.Context) error {
	what := "verify the install with " + t.git
	work, remote := filepath.Join(t.dir, "work"), filepath.Join(t.dir, "remote.git")
	err := errors.Join(os.RemoveAll(work), os.RemoveAll(remote),
		os.WriteFile(filepath.Join(t.dir, policyFile), []byte("hosts: ['"+t.host+"']\nrefs: [gatepass/allowed]\n"), 0o600))
	for _, args := range [][]string{
		{"init", "-q", "--template=", "--bare", remote},
		{"init", "-q", "--template=", work},
		{"-C", work, "commit", "-q", "--allow-empty", "-m", "trial"},
	} {
		if err == nil {
			_, err = t.do(ctx, args...)
		}
	}
	if err != nil {
		return usererr.Wrap(what, err, "check that this git works, or skip the check with --no-verify-install")
	}
	push := append([]string{"-C", work}, TrialOptions("https://"+t.host+"/gatepass/trial", remote)...)
	push = append(push, "push", "-q", TrialRemote)
	if _, err := t.do(ctx, append(push, "HEAD:"+trialAllowed)...); err != nil {
		return usererr.Wrap(what, err, "find out what stops an allowed push")
	}
	said, err := t.do(ctx, append(push, "HEAD:"+trialRefused)...)
	switch {
	case err == nil:
		return usererr.New(what, "git made a push that the policy refuses", "check this git's configuration: git config --list --show-origin")
	case !strings.Contains(said, "gatepass: push to "+trialRefused+" denied"):
		return usererr.Wrap(what, err, "the push was refused, but not by the guard")
	}
	return nil
}

// do runs git and returns its output. The error is git's first line.
func (t trial) do(ctx context.Context, args ...string) (said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	args = append([]string{"-c", "commit.gpgSign=false", "-c", "user.name=gatepass", "-c", "user.email=gatepass@localhost"}, args...)
	cmd := exec.CommandContext(ctx, t.git, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Dir, cmd.WaitDelay = t.dir, 5*time.Second
	cmd.Env = append(t.environ[:len(t.environ):len(t.environ)], "PATH="+filepath.Dir(t.git)+string(filepath.ListSeparator)+pathOf(t.environ))
	if err = cmd.Run(); err != nil {
		err = &gitError{text: firstLine(out.String()), err: err}
	}
	return out.String(), err
}

func pathOf(environ []string) (path string) {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
		}
	}
	return path
}

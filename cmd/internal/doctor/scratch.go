package doctor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/install"
)

// emptyTree is the id of an empty directory in a SHA-1 repository.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// triedRefs are refs for a test push; the first one that the policy refuses is used.
var triedRefs = []string{"refs/heads/gatepass-doctor", "refs/tags/gatepass-doctor", "refs/gatepass/doctor", "refs/heads/gatepass/doctor/x"}

// pushScratch tests the guard: in a scratch repository, under this machine's
// configuration, it makes a push that the guard must refuse. Git and the guard take it
// for a push to a configured host, but that host is not contacted. The configuration of
// the current repository is left out, so that none of its hooks runs.
func (c *setup) pushScratch(ctx context.Context) []Finding {
	if _, ok := c.git(); !ok || c.gitErr != nil {
		return nil
	}
	s := scratch{setup: c, ctx: ctx}
	dir, err := os.MkdirTemp("", "gatepass-doctor-")
	if err == nil {
		defer os.RemoveAll(dir)
		s.dir = dir
		err = s.prepare()
	}
	if err != nil {
		return []Finding{{Level: Warning, Text: "whether the guard runs cannot be checked: " + err.Error(), Fix: "make the temporary directory writable, or set TMPDIR"}}
	}
	return []Finding{s.push()}
}

type scratch struct {
	*setup
	ctx context.Context
	dir string
}

// git runs git in the scratch repository, isolated from the current repository as far
// as possible.
func (s scratch) git(args ...string) (stdout, stderr []byte, err error) {
	env := install.TrialEnvironment(plainEnvironment(s.Environ))
	env = append(env, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=x", "GIT_AUTHOR_EMAIL=x@example.com", "GIT_COMMITTER_NAME=x", "GIT_COMMITTER_EMAIL=x@example.com")
	return run(s.ctx, s.dir, env, "git", args...)
}

// prepare makes a repository with one commit, and a bare one to push to.
func (s scratch) prepare() error {
	for _, args := range [][]string{
		{"init", "-q", "--template=", "."},
		{"init", "-q", "--template=", "--bare", "remote.git"},
		{"hash-object", "-w", "-t", "tree", os.DevNull},
	} {
		if _, stderr, err := s.git(args...); err != nil {
			return firstOf(stderr, err)
		}
	}
	commit, stderr, err := s.git("commit-tree", "-m", "scratch", emptyTree)
	if err != nil {
		return firstOf(stderr, err)
	}
	if _, stderr, err = s.git("update-ref", "refs/heads/scratch", strings.TrimSpace(string(commit))); err != nil {
		return firstOf(stderr, err)
	}
	return nil
}

// push makes a push that the guard must refuse, and reports who refused it.
func (s scratch) push() Finding {
	ref, ok := s.refusedRef()
	args := install.TrialOptions("https://"+s.hosts[0]+"/gatepass/doctor", filepath.Join(s.dir, "remote.git"))
	args = append(args, "push", "-q", "--no-signed", "--no-recurse-submodules", install.TrialRemote)
	what := "a scratch push to " + ref
	if ok {
		args = append(args, "refs/heads/scratch:"+ref)
	} else {
		what = "a scratch push with --mirror"
		args = append(args, "--mirror")
	}
	_, stderr, err := s.git(args...)
	switch {
	case s.ctx.Err() != nil:
		return Finding{Level: Warning, Text: what + " did not end in time", Fix: "run gatepass doctor again, and check for slow hooks"}
	case err == nil:
		return Finding{Level: Failure, Text: what + ", which must be refused, succeeded: the guard does not run", Fix: "gatepass install"}
	case !strings.Contains(string(stderr), "gatepass: "), bytes.Contains(stderr, []byte(hooks.GuardIsGone)):
		return Finding{
			Level: Failure, Text: what + " failed, but not by the guard: " + firstOf(stderr, errors.New("git printed nothing")).Error(),
			Fix: "gatepass install",
		}
	}
	return Finding{Level: OK, Text: what + " was refused by the guard, as it must be"}
}

// refusedRef returns a ref that the policy refuses; without a policy, every ref is
// refused. ok is false if the policy allows all the refs that are tried.
func (s scratch) refusedRef() (ref string, ok bool) {
	for _, ref := range triedRefs {
		if _, err := s.policy.Check(ref, refs.Create); err != nil {
			return ref, true
		}
	}
	return "", false
}

//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// A place is where tests run: this machine, or a chroot with another git.
type place struct {
	name   string // name of the component that has the git
	chroot *chroot
}

// command returns a command that runs args in the folder of a staged package, with our
// binaries on PATH and an empty home. Of the caller's environment it gets only the
// necessary variables.
func (p place) command(ctx context.Context, s stage, dir string, env []string, args ...string) (*exec.Cmd, error) {
	if p.chroot == nil {
		return p.onThisMachine(ctx, s, dir, env, args), nil
	}
	scratch, err := s.scratch()
	if err != nil {
		return nil, err
	}
	e := entry{
		scratch:  scratch,
		dir:      filepath.Join(testsInside, dir),
		binaries: s.bin(),
		tests:    s.tests(),
		env:      append([]string{"GATEPASS_TEST_BIN_DIR=" + binariesInside, "GATEPASS_TEST_CHROOT=1"}, env...),
	}
	return p.chroot.command(ctx, e, args...), nil
}

func (p place) onThisMachine(ctx context.Context, s stage, dir string, env, args []string) *exec.Cmd {
	cmd := hostCommand(ctx, args)
	cmd.Dir = filepath.Join(s.tests(), dir)
	cmd.Env = append([]string{
		"PATH=" + s.bin() + ":" + os.Getenv("PATH"),
		"HOME=" + s.home(),
		"TMPDIR=" + s.tmp(),
		"LANG=C.UTF-8",
		"GATEPASS_TEST_BIN_DIR=" + s.bin(),
	}, env...)
	return cmd
}

// hostCommand returns args as a command that leaves no processes behind: as root
// always, otherwise only as far as they stay in its process group.
func hostCommand(ctx context.Context, args []string) *exec.Cmd {
	if os.Geteuid() != 0 {
		return command(ctx, args[0], args[1:]...)
	}
	// The shell does not exec the command, because it must stay to collect orphans.
	return confined(ctx, "sh", append([]string{"-c", `"$@" || exit $?`, "sh"}, args...)...)
}

// endGroup kills the rest of a command's process group.
func endGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// gitVersion returns the version of the git that tests will find.
func (p place) gitVersion(ctx context.Context, s stage) (string, error) {
	cmd, err := p.command(ctx, s, "", nil, "git", "version")
	if err != nil {
		return "", err
	}
	text, err := output(cmd)
	return firstVersion(text), err
}

//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// command returns a command that leads its own process group. The whole group ends with
// ctx. The leader also ends with this program, however this program ends.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// confined is like command for a program that must leave nothing mounted and nothing
// running: it is the first process of its own mount and process namespaces, so even a
// daemon that left the process group ends with it. It needs root.
func confined(ctx context.Context, name string, args ...string) *exec.Cmd {
	unshare := []string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", name}
	return command(ctx, "unshare", append(unshare, args...)...)
}

// output runs cmd and returns its standard output, trimmed. The error has the last
// lines of its standard error, where programs report what is wrong.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd.Args[0], err, lastLines(stderr.String(), 3))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// lastLines returns the last n lines of s on one line.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, " / ")
}

// endWithParent requests SIGTERM when the parent dies: "go run" forwards an interrupt
// from the terminal, but not a SIGTERM that it receives.
func endWithParent() {
	const setParentDeathSignal = 1 // PR_SET_PDEATHSIG, prctl(2)
	syscall.RawSyscall(syscall.SYS_PRCTL, setParentDeathSignal, uintptr(syscall.SIGTERM), 0)
}

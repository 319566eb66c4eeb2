//go:build unix

package fakegithub

import (
	"os/exec"
	"syscall"
)

// ownGroup puts git and the helpers it starts in a process group, so that
// ending git ends them too.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

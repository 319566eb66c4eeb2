//go:build unix

package fakegithub

import (
	"os/exec"
	"syscall"
)

// ownGroup puts git and its helpers into a process group, so that they can be killed
// together.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

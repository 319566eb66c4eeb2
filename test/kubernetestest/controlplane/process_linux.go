package controlplane

import (
	"os/exec"
	"syscall"
)

// endWithParent makes the kernel kill cmd when this program ends, and shields it from
// an interrupt of the terminal: its owner stops it.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

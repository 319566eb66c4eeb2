package controlplane

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel kill cmd when this program ends, and keeps an
// interrupt from the terminal from it: its owner stops it.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

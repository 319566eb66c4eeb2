//go:build !linux

package controlplane

import "os/exec"

// endWithParent does nothing: only Linux kills a child with its parent.
func endWithParent(*exec.Cmd) {}

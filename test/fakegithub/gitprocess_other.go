//go:build !unix

package fakegithub

import "os/exec"

// ownGroup does nothing: without process groups, git's helpers end when their pipes do.
func ownGroup(*exec.Cmd) {}

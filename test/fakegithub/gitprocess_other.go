//go:build !unix

package fakegithub

import "os/exec"

// ownGroup leaves git as it is: without process groups, its helpers end when
// their pipes do.
func ownGroup(*exec.Cmd) {}

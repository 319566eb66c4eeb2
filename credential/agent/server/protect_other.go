//go:build unix && !linux

package server

import "golang.org/x/sys/unix"

// Protect disables core dumps. It does not lock memory on this system.
func Protect() (locked bool) {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	return false
}

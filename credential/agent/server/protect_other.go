//go:build unix && !linux

package server

import "golang.org/x/sys/unix"

// Protect switches core dumps off. Locking memory is not tried here.
func Protect() (locked bool) {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	return false
}

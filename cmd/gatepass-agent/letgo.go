package main

import "golang.org/x/sys/unix"

// letGo replaces the three standard descriptors with /dev/null: git and its callers
// wait until every process has closed the other end.
func letGo() {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	for fd := range 3 {
		_ = unix.Dup2(null, fd)
	}
}

package main

import "golang.org/x/sys/unix"

// letGo puts /dev/null in place of the three standard descriptors: git and its
// callers wait until nobody holds the other end of theirs.
func letGo() {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	for fd := range 3 {
		_ = unix.Dup2(null, fd)
	}
}

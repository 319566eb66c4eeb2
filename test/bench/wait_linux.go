package main

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// pollFd is struct pollfd of poll(2).
type pollFd struct {
	fd      int32
	events  int16
	revents int16
}

// await waits for a process to end, at most limit, without involving Go's scheduler:
// the scheduler's watchdog would wake every few dozen microseconds on one of the
// processors that the measured program needs. A git that waits for its helper is as
// quiet. Nothing else in this process runs meanwhile, so the measured program must not
// need it.
func await(p *os.Process, limit time.Duration) (ended bool) {
	err := p.WithHandle(func(pidfd uintptr) {
		const pollIn = 1
		fds := pollFd{fd: int32(pidfd), events: pollIn}
		ts := syscall.NsecToTimespec(limit.Nanoseconds())
		for errno := syscall.EINTR; errno == syscall.EINTR; { // SIGCHLD arrives when the process ends
			var n uintptr
			n, _, errno = syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
			ended = errno == 0 && n == 1
		}
	})
	return ended || err != nil // without a handle, Wait must suffice
}

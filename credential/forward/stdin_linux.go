package forward

import (
	"io"
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

const pollIn = 1

// A boundedFile reads a file until a deadline. It waits in the kernel and not on a
// timer of Go: the first timer of a process costs a thread and an epoll instance, a
// tenth of the helper's time.
type boundedFile struct {
	fd       int
	deadline time.Time
}

// bounded returns r with a deadline if r is a file: later reads fail with
// os.ErrDeadlineExceeded.
func bounded(r io.Reader, deadline time.Time) io.Reader {
	if f, ok := r.(*os.File); ok {
		return boundedFile{int(f.Fd()), deadline}
	}
	return r
}

func (b boundedFile) Read(p []byte) (int, error) {
	for {
		if err := b.wait(); err != nil {
			return 0, err
		}
		n, err := syscall.Read(b.fd, p)
		switch {
		case err == syscall.EINTR || err == syscall.EAGAIN:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (b boundedFile) wait() error {
	for {
		left := time.Until(b.deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		fds := pollFd{fd: int32(b.fd), events: pollIn}
		ts := syscall.NsecToTimespec(left.Nanoseconds())
		n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno != 0:
			return errno
		case n > 0:
			return nil
		}
	}
}

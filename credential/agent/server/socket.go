package server

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
)

// A listener accepts on a raw socket with blocking calls. The runtime's poller would
// cost a warm answer ten more system calls and the wake-up of a second thread, which is
// half of its time.
type listener struct {
	fd     int
	closed atomic.Bool
}

// backlog is several times what fifty helpers need that start at the same time.
const backlog = 512

// listen binds to another name and renames the socket, so that a program that finds the
// socket can always connect. The agent holds the lock, so an existing socket is left
// over.
func listen(place agent.Place) (*listener, error) {
	fresh := place.Socket + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	fd, err := newSocket()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := bind(fd, fresh); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	if err := os.Rename(fresh, place.Socket); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return &listener{fd: fd}, nil
}

func bind(fd int, path string) error {
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	return os.NewSyscallError("listen", syscall.Listen(fd, backlog))
}

// accept waits for the next connection; ok is false once the listener is closed.
func (l *listener) accept() (c *conn, ok bool) {
	for {
		fd, err := acceptOn(l.fd)
		switch {
		case l.closed.Load():
			if err == nil {
				syscall.Close(fd)
			}
			return nil, false
		case err == nil:
			return &conn{fd: fd}, true
		case err != syscall.EINTR && err != syscall.ECONNABORTED:
			time.Sleep(10 * time.Millisecond) // no descriptors are left, for example: other calls may end
		}
	}
}

// close wakes the goroutines in accept. The descriptor itself stays open until the
// process ends: another thread may be about to use its number.
func (l *listener) close() {
	l.closed.Store(true)
	_ = syscall.Shutdown(l.fd, syscall.SHUT_RDWR)
}

// A conn is one accepted connection. Reads and writes block, with timeouts set in the
// kernel.
type conn struct{ fd int }

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(c.fd, p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, errEnd
		default:
			return n, nil
		}
	}
}

func (c *conn) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := syscall.Write(c.fd, p[written:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

var errEnd = errors.New("the caller closed the connection")

// limit sets the timeout of each later read and write.
func (c *conn) limit(d time.Duration) {
	tv := syscall.NsecToTimeval(d.Nanoseconds())
	_ = syscall.SetsockoptTimeval(c.fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &tv)
	_ = syscall.SetsockoptTimeval(c.fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &tv)
}

func (c *conn) close() { syscall.Close(c.fd) }

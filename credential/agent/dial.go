package agent

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// errNoAgent reports that no agent listens: one may be started.
var errNoAgent = errors.New("no agent is running")

// errNoReply reports that an agent took the call and ended without an answer.
var errNoReply = errors.New("the agent exited without an answer")

// errNoSocket reports that this process is not allowed to open a Unix socket, because
// of a filter of system calls or address families.
var errNoSocket = errors.New("this system does not allow Unix sockets here")

// ErrDeadline reports that an agent listens but did not answer in time.
var ErrDeadline error = usererr.New("ask "+Program, "it did not answer in time", "set a longer GATEPASS_TIMEOUT, or run gatepass agent status")

var errForeign = errors.New("the agent's socket belongs to another user")

// ask makes one call over the socket.
func ask(socket string, c Call, deadline time.Time) (Reply, error) {
	fd, err := dial(socket, deadline)
	if err != nil {
		return Reply{}, err
	}
	defer syscall.Close(fd)
	c.Timeout = timeToAnswer(deadline)
	if err := writeAll(fd, AppendCall(make([]byte, 0, 512+len(c.Payload)), c), deadline); err != nil {
		return Reply{}, connectionError(err)
	}
	return readReply(fd, deadline)
}

// openSocket is newSocket, except in the test of a machine without sockets.
var openSocket = newSocket

func dial(socket string, deadline time.Time) (int, error) {
	fd, err := openSocket()
	switch err {
	case nil:
	case syscall.EPERM, syscall.EACCES, syscall.EAFNOSUPPORT:
		return -1, errNoSocket
	default:
		return -1, os.NewSyscallError("socket", err)
	}
	err = limit(fd, deadline)
	if err == nil {
		err = connect(fd, socket)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// limit sets a timeout until the deadline for each later call on the socket. There are
// only a few calls, so the total stays near it.
func limit(fd int, deadline time.Time) error {
	left := time.Until(deadline)
	if left <= 0 {
		return ErrDeadline
	}
	tv := syscall.NsecToTimeval(max(left, time.Millisecond).Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &tv); err != nil {
		return err
	}
	return syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &tv)
}

func connect(fd int, socket string) error {
	for {
		err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket})
		switch err {
		case nil:
			return checkPeer(fd)
		case syscall.EINTR:
		case syscall.ENOENT, syscall.ECONNREFUSED:
			return errNoAgent
		case syscall.EPERM, syscall.EACCES:
			return errNoSocket
		default:
			return connectionError(err)
		}
	}
}

// connectionError translates the kernel's errors for a timeout and a closed connection.
func connectionError(err error) error {
	switch err {
	case syscall.EAGAIN, syscall.EINPROGRESS:
		return ErrDeadline
	case syscall.EPIPE, syscall.ECONNRESET:
		return errNoReply
	}
	return err
}

func writeAll(fd int, data []byte, deadline time.Time) error {
	for len(data) > 0 {
		n, err := syscall.Write(fd, data)
		if err == syscall.EINTR {
			err = limit(fd, deadline) // the next call needs a new timeout
		}
		if err != nil {
			return err
		}
		data = data[max(n, 0):]
	}
	return nil
}

// readReply reads until the deadline. Go interrupts a thread that seems to run for
// long, every ten milliseconds, and the kernel does not restart an interrupted read
// that has a timeout.
func readReply(fd int, deadline time.Time) (Reply, error) {
	buf := make([]byte, 0, 4096)
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= MaxMessage {
				return Reply{}, errWire
			}
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := readAlone(fd, buf[len(buf):cap(buf)])
		if err == syscall.EINTR {
			if err := limit(fd, deadline); err != nil {
				return Reply{}, err
			}
			continue
		}
		if err != nil {
			return Reply{}, connectionError(err)
		}
		if n == 0 {
			return Reply{}, errNoReply
		}
		buf = buf[:len(buf)+n]
		if r, whole, err := ParseReply(buf); whole || err != nil {
			return r, err
		}
	}
}

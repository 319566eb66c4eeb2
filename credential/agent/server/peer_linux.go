package server

import (
	"errors"
	"os"
	"syscall"
)

var errForeignPeer = errors.New("the caller belongs to another user")

func newSocket() (int, error) {
	return syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
}

func acceptOn(fd int) (int, error) {
	conn, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC)
	return conn, err
}

// peer returns the process at the other end. It returns an error if that is another
// user's.
func (c *conn) peer() (pid int, err error) {
	cred, err := syscall.GetsockoptUcred(c.fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	if int(cred.Uid) != os.Geteuid() {
		return 0, errForeignPeer
	}
	return int(cred.Pid), nil
}

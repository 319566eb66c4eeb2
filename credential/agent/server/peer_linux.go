package server

import (
	"errors"
	"net"
	"os"
	"syscall"
)

var errForeignPeer = errors.New("a peer of another user")

// peer returns the process at the other end, which must be the same user's.
func peer(conn *net.UnixConn) (pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	if int(cred.Uid) != os.Geteuid() {
		return 0, errForeignPeer
	}
	return int(cred.Pid), nil
}

func changeTime(st *syscall.Stat_t) int64 { return st.Ctim.Nano() }

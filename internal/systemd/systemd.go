// Package systemd implements the small protocol between a service and systemd: sockets
// that systemd opened for it, and the state that it reports.
//
// See sd_listen_fds(3) and sd_notify(3).
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// firstFD is the first descriptor from systemd (SD_LISTEN_FDS_START).
const firstFD = 3

// maxFDs limits the number that the environment may claim.
const maxFDs = 64

// A Socket is a socket from systemd.
type Socket struct {
	net.Listener
	Name string // of LISTEN_FDNAMES: FileDescriptorName=, else the name of the unit
}

// Sockets returns the sockets that systemd passed to this process; none if there are
// none or if they are for another process. Call it once, early: children then do not
// inherit the descriptors.
func Sockets(getenv func(string) string) ([]Socket, error) {
	return sockets(getenv, firstFD)
}

func sockets(getenv func(string) string, first int) ([]Socket, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	count, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || count < 0 || count > maxFDs {
		return nil, fmt.Errorf("LISTEN_FDS is %q; it must be a number of sockets", getenv("LISTEN_FDS"))
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	var all []Socket
	for i := range count {
		s := Socket{Name: "unknown"}
		if i < len(names) && names[i] != "" {
			s.Name = names[i]
		}
		syscall.CloseOnExec(first + i)
		f := os.NewFile(uintptr(first+i), s.Name)
		if f == nil {
			return nil, fmt.Errorf("file %d of LISTEN_FDS is not a socket", i)
		}
		l, err := net.FileListener(f) // l has its own descriptor
		if err != nil {
			return nil, errors.Join(fmt.Errorf("socket %d of LISTEN_FDS: %w", i, err), f.Close())
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // the socket file is systemd's
		}
		s.Listener = l
		all = append(all, s)
	}
	return all, nil
}

// The states that a service reports.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Notify reports a state to systemd. It does nothing without NOTIFY_SOCKET.
func Notify(getenv func(string) string, state string) error {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] != '/' && path[0] != '@' {
		return fmt.Errorf("NOTIFY_SOCKET %q is not a socket of this machine", path)
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return errors.Join(err, c.Close())
}

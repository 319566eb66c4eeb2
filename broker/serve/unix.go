package serve

import (
	"errors"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// umask belongs to the whole process.
var umask sync.Mutex

// listenUnix makes the socket for its owner alone until its mode is set: there is
// no moment at which others may connect who should not.
func listenUnix(path string) (net.Listener, error) {
	umask.Lock()
	defer umask.Unlock()
	old := unix.Umask(0o177)
	defer unix.Umask(old)
	return net.Listen("unix", path)
}

// isRefused reports whether nobody listens at a socket.
func isRefused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

package serve

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/internal/systemd"
)

// dialWait is how long a socket that is there has to answer.
const dialWait = 2 * time.Second

// ListenUnix listens on a socket with that mode. A socket that nobody answers at is
// taken away first.
func ListenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := listenUnix(path)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, bare(err))
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s is there and is no socket", path)
	}
	c, err := net.DialTimeout("unix", path, dialWait)
	if err == nil {
		return errors.Join(fmt.Errorf("another server answers at %s", path), c.Close())
	}
	if !isRefused(err) {
		return fmt.Errorf("%s is there, and whether a server has it cannot be told: %w", path, bare(err))
	}
	return os.Remove(path)
}

// ListenTCP listens on HOST:PORT.
func ListenTCP(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, bare(err))
	}
	return l, nil
}

// bare takes the repeated address out of a network error.
func bare(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// TakeSocket returns the socket of those that were handed over which is for an address,
// unix:///PATH or https://HOST:PORT, or which has the name. It is taken out of
// the list.
func TakeSocket(handed *[]systemd.Socket, address, name string) net.Listener {
	for i, s := range *handed {
		if s.Name == name && name != "" || matches(s.Addr(), address) {
			*handed = append((*handed)[:i:i], (*handed)[i+1:]...)
			return s.Listener
		}
	}
	return nil
}

// matches compares a socket with what was configured. Of ListenTCP the port decides:
// systemd listens on all addresses where it is told only a port.
func matches(a net.Addr, address string) bool {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return a.Network() == "unix" && a.String() == path
	}
	_, hostPort, _ := strings.Cut(address, "://")
	_, port, err := net.SplitHostPort(strings.TrimSuffix(hostPort, "/"))
	_, have, haveErr := net.SplitHostPort(a.String())
	return err == nil && haveErr == nil && a.Network() == "tcp" && port == have
}

// Limited closes connections that are more than so many: the oldest of the address
// that has the most, and the one that comes where that is its own. refused is told
// of each; nil means nobody is.
func Limited(l net.Listener, limit int, refused func()) net.Listener {
	return &limited{Listener: l, room: fairshare.Pool{Size: int64(limit)}, refused: refused}
}

type limited struct {
	net.Listener
	room    fairshare.Pool // in connections
	refused func()
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		refuse := func() {
			_ = c.Close() // whoever serves it finds out
			if l.refused != nil {
				l.refused()
			}
		}
		if leave, ok := l.room.Acquire(fairshare.Address(c.RemoteAddr().String()), 1, refuse); ok {
			return counted(c, leave), nil
		}
		refuse()
	}
}

// counted gives its place back when it is closed.
func counted(c net.Conn, back func()) net.Conn {
	if u, ok := c.(*net.UnixConn); ok {
		return &unixConn{u, back}
	}
	return &tcpConn{c, back}
}

type tcpConn struct {
	net.Conn
	back func()
}

func (c *tcpConn) Close() error {
	defer c.back()
	return c.Conn.Close()
}

type unixConn struct {
	*net.UnixConn
	back func()
}

func (c *unixConn) Close() error {
	defer c.back()
	return c.UnixConn.Close()
}

// Bare returns the connection below one that is counted. It is for looking at:
// closing it gives no place back.
func Bare(c net.Conn) net.Conn {
	if u, ok := c.(*unixConn); ok {
		return u.UnixConn
	}
	return c
}

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

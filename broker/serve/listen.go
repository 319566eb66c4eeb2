package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/internal/filestamp"
	"github.com/gatepass/gatepass/internal/systemd"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
)

// dialWait is how long an existing socket has to answer.
const dialWait = 2 * time.Second

// ListenUnix listens on a socket with the given mode. It removes an existing socket
// that no server listens at.
func ListenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := listenUnix(path)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, withoutAddress(err))
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
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	c, err := net.DialTimeout("unix", path, dialWait)
	if err == nil {
		return errors.Join(fmt.Errorf("another server answers at %s", path), c.Close())
	}
	if !isRefused(err) {
		return fmt.Errorf("%s exists, and the broker cannot check whether a server uses it: %w", path, withoutAddress(err))
	}
	return os.Remove(path)
}

// ListenTCP listens on HOST:PORT.
func ListenTCP(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, withoutAddress(err))
	}
	return l, nil
}

// withoutAddress removes the address from a network error; the caller's message names it.
func withoutAddress(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// ClaimSocket returns the socket in handed that is for an address, unix:///PATH or
// https://HOST:PORT, or has the name, and removes it from handed. It returns nil if
// there is none.
func ClaimSocket(handed *[]systemd.Socket, address, name string) net.Listener {
	for i, s := range *handed {
		if s.Name == name && name != "" || matches(s.Addr(), address) {
			*handed = append((*handed)[:i:i], (*handed)[i+1:]...)
			return s.Listener
		}
	}
	return nil
}

// matches reports whether a socket fits an address. For TCP only the port counts: if
// systemd is told only a port, it listens on all addresses.
func matches(a net.Addr, address string) bool {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return a.Network() == "unix" && a.String() == path
	}
	_, hostPort, _ := strings.Cut(address, "://")
	_, port, err := net.SplitHostPort(strings.TrimSuffix(hostPort, "/"))
	_, have, haveErr := net.SplitHostPort(a.String())
	return err == nil && haveErr == nil && a.Network() == "tcp" && port == have
}

// Limited caps open connections. Beyond the cap it closes the oldest connection of the
// address that has the most; if that is the new connection's own address, it closes the
// new one. It calls refused for each; nil disables that.
func Limited(l net.Listener, limit int, refused func()) net.Listener {
	return &limited{Listener: l, room: fairshare.Pool{Size: int64(limit)}, refused: refused}
}

type limited struct {
	net.Listener
	room    fairshare.Pool // counted in connections
	refused func()
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		refuse := func() {
			_ = c.Close() // the code that serves it gets an error
			if l.refused != nil {
				l.refused()
			}
		}
		if leave, ok := l.room.Acquire(fairshare.Address(c.RemoteAddr().String()), 1, refuse); ok {
			return countedConn(c, leave), nil
		}
		refuse()
	}
}

// countedConn returns a connection that calls back when it is closed.
func countedConn(c net.Conn, back func()) net.Conn {
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

// Unwrap returns the connection inside a counted one. Use it only to read from it about
// the peer; closing it would not be counted.
func Unwrap(c net.Conn) net.Conn {
	if u, ok := c.(*unixConn); ok {
		return u.UnixConn
	}
	return c
}

// umask guards the umask, which belongs to the whole process.
var umask sync.Mutex

// listenUnix makes the socket with access for its owner only, until its mode is set. So
// at no moment can other users connect who should not.
func listenUnix(path string) (net.Listener, error) {
	umask.Lock()
	defer umask.Unlock()
	old := unix.Umask(0o177)
	defer unix.Umask(old)
	return net.Listen("unix", path)
}

// isRefused reports whether no server listens at the socket.
func isRefused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

// certificateEvery is how often the files are checked for changes.
const certificateEvery = time.Second

// A Certificate is a certificate and its key, in files. Make it with [LoadCertificate].
type Certificate struct {
	// Failed is called with the reason if a changed pair is not used, once for each
	// change; nil disables it.
	Failed func(error)

	certFile, keyFile string

	mu        sync.Mutex // guards the rest
	pair      *tls.Certificate
	seen      [2]filestamp.Stamp // the files' state when they were last read
	checkedAt time.Time
}

// LoadCertificate reads a pair. Its error is one line.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	p := &Certificate{certFile: certFile, keyFile: keyFile}
	p.seen = p.stamps()
	pair, err := p.read()
	if err != nil {
		return nil, err
	}
	p.pair, p.checkedAt = pair, time.Now()
	return p, nil
}

func (p *Certificate) stamps() [2]filestamp.Stamp {
	cert, _ := filestamp.Of(p.certFile) // a missing file has a stamp, too
	key, _ := filestamp.Of(p.keyFile)
	return [2]filestamp.Stamp{cert, key}
}

func (p *Certificate) read() (*tls.Certificate, error) {
	what := "read the certificate " + p.certFile + " and its key"
	cert, err := trustedfile.Read("the certificate", p.certFile, trustedfile.Writing, maxFile)
	if err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	key, err := trustedfile.Read("the certificate's key", p.keyFile, trustedfile.ReadingAndWriting, maxFile)
	if err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, usererr.Wrap(what, err, "write a certificate and the key that belongs to it")
	}
	return &pair, nil
}

// maxFile is the maximum size of a file, in bytes.
const maxFile = 1 << 20

// Get returns the pair for a handshake, for [tls.Config]. It reads changed files again.
// While they do not fit together, because one is written after the other, it returns
// the last good pair.
func (p *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.checkedAt) >= certificateEvery {
		p.checkedAt = now
		p.refresh()
	}
	return p.pair, nil
}

// refresh reads the files if they changed. The caller holds mu.
func (p *Certificate) refresh() {
	now := p.stamps()
	if now == p.seen {
		return
	}
	p.seen = now
	pair, err := p.read()
	if err != nil {
		if p.Failed != nil {
			p.Failed(err)
		}
		return
	}
	p.pair = pair
}

// Expires returns when the certificate in use expires.
func (p *Certificate) Expires() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pair.Leaf == nil {
		return time.Time{}
	}
	return p.pair.Leaf.NotAfter
}

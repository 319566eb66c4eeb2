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

// certificateEvery is how often the files are looked at.
const certificateEvery = time.Second

// A Certificate is a certificate and its key, in files. Make it with LoadCertificate.
type Certificate struct {
	// Failed is told why a changed pair is not used, once for each change; nil
	// means nobody is.
	Failed func(error)

	certFile, keyFile string

	mu     sync.Mutex // guards the rest
	pair   *tls.Certificate
	seen   [2]filestamp.Stamp // when they were read last
	looked time.Time
}

// LoadCertificate reads a pair. The error is one line.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	p := &Certificate{certFile: certFile, keyFile: keyFile}
	p.seen = p.stamps()
	pair, err := p.read()
	if err != nil {
		return nil, err
	}
	p.pair, p.looked = pair, time.Now()
	return p, nil
}

func (p *Certificate) stamps() [2]filestamp.Stamp {
	cert, _ := filestamp.Of(p.certFile) // a file that is not there has a stamp, too
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

// maxFile bounds a file, in bytes.
const maxFile = 1 << 20

// Get returns the pair for a handshake, for [tls.Config]. Files that changed are
// read again; while they are no pair, because one is written after the other, the
// last good one stays.
func (p *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) >= certificateEvery {
		p.looked = now
		p.refresh()
	}
	return p.pair, nil
}

// refresh reads what changed. The caller holds mu.
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

// Expires returns when the certificate that is used runs out.
func (p *Certificate) Expires() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pair.Leaf == nil {
		return time.Time{}
	}
	return p.pair.Leaf.NotAfter
}

package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/internal/systemd"
)

func TestUnixSocketsOfBefore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := ListenUnix(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket's mode is %v, %v, want 0660", info.Mode(), err)
	}
	if _, err := ListenUnix(path, 0o660); err == nil || !strings.Contains(err.Error(), "another server answers") {
		t.Errorf("a socket that answers: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as after a crash
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = ListenUnix(path, 0o600)
	if err != nil {
		t.Fatalf("a socket without a server: %v", err)
	}
	defer l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(file, 0o660); err == nil || !strings.Contains(err.Error(), "exists and is not a socket") {
		t.Errorf("an ordinary file: %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error("an ordinary file was removed")
	}
}

func TestTake(t *testing.T) {
	tcp, err := ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(t.TempDir(), "s")
	u, err := ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	handed := []systemd.Socket{{Listener: tcp, Name: "a"}, {Listener: u, Name: "b"}}
	for _, c := range []struct {
		address, name string
		want          net.Listener
	}{
		{"https://0.0.0.0:1", "", nil},
		{"unix:///elsewhere", "", nil},
		{"https://0.0.0.0:" + port, "", tcp},
		{"https://0.0.0.0:" + port, "", nil}, // it was taken already
		{"unix:///elsewhere", "b", u},
		{"unix://" + path, "", nil},
	} {
		if got := ClaimSocket(&handed, c.address, c.name); got != c.want {
			t.Errorf("Take(%s, %q) = %v, want %v", c.address, c.name, got, c.want)
		}
	}
}

func TestConnectionsBeyondTheLimit(t *testing.T) {
	tcp, err := ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan struct{}, 10)
	l := Limited(tcp, 2, func() { refused <- struct{}{} })
	defer l.Close()
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	dial()
	first := <-accepted
	<-accepted
	third := dial()
	<-refused
	_ = third.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection beyond the limit is served")
	}
	first.Close()
	first.Close() // frees its slot only once
	dial()
	<-accepted
	dial()
	<-refused
}

// An address that has all connections loses one to another address.
func TestOneClientDoesNotUseAllConnections(t *testing.T) {
	tcp, err := ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Limited(tcp, 3, nil)
	defer l.Close()
	go func() {
		for {
			if _, err := l.Accept(); err != nil { // and send nothing
				return
			}
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}).Dial("tcp", l.Addr().String())
		if err != nil {
			t.Skip("this system has one address of its own: ", err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	isClosed := func(c net.Conn, wait time.Duration) bool {
		_ = c.SetReadDeadline(time.Now().Add(wait))
		_, err := c.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	oldest, second := dial("127.0.0.1"), dial("127.0.0.1")
	dial("127.0.0.1")
	if late := dial("127.0.0.1"); !isClosed(late, 5*time.Second) {
		t.Error("one more of the same address is let in")
	}
	other := dial("127.0.0.2")
	if !isClosed(oldest, 5*time.Second) || isClosed(second, 100*time.Millisecond) || isClosed(other, 100*time.Millisecond) {
		t.Error("want the oldest connection of the address with the most closed, and no other")
	}
}

// renew writes another pair with a name.
func renew(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	put(t, filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestAPairThatIsRenewed(t *testing.T) {
	dir := t.TempDir()
	renew(t, dir, "one")
	p, err := LoadCertificate(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	var failures []string
	p.Failed = func(err error) { failures = append(failures, err.Error()) }
	shows := func(want string) {
		t.Helper()
		p.checkedAt = time.Time{}
		got, err := p.Get(nil)
		if err != nil || got.Leaf.Subject.CommonName != want {
			t.Errorf("Get = %v, %v, want %s", got.Leaf.Subject, err, want)
		}
	}
	shows("one")
	renew(t, dir, "two")
	shows("two")
	if !p.Expires().After(time.Now()) {
		t.Errorf("Expires = %v", p.Expires())
	}
	put(t, filepath.Join(dir, "tls.crt"), []byte("half a certif"))
	shows("two")
	shows("two")
	if len(failures) != 1 || strings.Contains(failures[0], "\n") {
		t.Errorf("the failures are %q, want one line once", failures)
	}
	if err := os.Remove(filepath.Join(dir, "tls.key")); err != nil {
		t.Fatal(err)
	}
	shows("two")
	renew(t, dir, "three")
	shows("three")
	if len(failures) != 2 {
		t.Errorf("the failures are %q, want one more", failures)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadCertificate(filepath.Join(dir, "none"), filepath.Join(dir, "none")); err == nil {
		t.Error("files that are not there are a pair")
	}
}

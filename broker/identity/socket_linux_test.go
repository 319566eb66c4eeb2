package identity

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatepass/gatepass/broker"
)

// A caller's identity is what the kernel says about its process.
func TestIdentifyByThePeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	callers := make(chan broker.Caller, 1)
	server := &http.Server{ConnContext: ConnContext, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c, err := SocketIdentifier{}.Identify(r.Context(), r)
		if err != nil {
			t.Errorf("Identify = %v", err)
		}
		callers <- c
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	response, err := client.Get("http://broker/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	c := <-callers
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	other, otherGroup := uid+1, gid+1
	for _, s := range []struct {
		settings SocketSettings
		want     bool
	}{{SocketSettings{}, true}, {SocketSettings{UID: &uid}, true}, {SocketSettings{UID: &uid, GID: &gid}, true}, {SocketSettings{GID: &gid}, true}, {SocketSettings{UID: &other}, false}, {SocketSettings{GID: &otherGroup}, false}, {SocketSettings{UID: &uid, GID: &otherGroup}, false}, {SocketSettings{UID: &other, GID: &gid}, false}} {
		if got, err := s.settings.Match().Match(c); err != nil || got != s.want {
			t.Errorf("%+v matches: %v, %v, want %v", s.settings, got, err, s.want)
		}
	}
	if pid, _ := c.Claim("pid"); pid != strconv.Itoa(os.Getpid()) || c.Method != "socket" || c.Subject != "uid "+strconv.Itoa(os.Getuid()) {
		t.Errorf("the caller is %+v, want this process", c)
	}
}

func TestNoCallerOnOtherConnections(t *testing.T) {
	if _, err := (SocketIdentifier{}).Identify(t.Context(), nil); !errors.Is(err, broker.ErrNoProof) {
		t.Errorf("Identify = %v, want ErrNoProof", err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := (SocketIdentifier{}).Identify(ConnContext(t.Context(), a), nil); !errors.Is(err, broker.ErrNoProof) {
		t.Errorf("Identify over a pipe = %v, want ErrNoProof", err)
	}
	// A caller whose peer is unknown has no identity; it is not user 0.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	f := os.NewFile(uintptr(pair[0]), "pair")
	gone, err := net.FileConn(f)
	if err := errors.Join(err, f.Close(), gone.Close()); err != nil {
		t.Fatal(err)
	}
	if c, err := (SocketIdentifier{}).Identify(ConnContext(t.Context(), gone), nil); !errors.Is(err, broker.ErrNoProof) {
		t.Errorf("Identify over a closed connection = %+v, %v, want ErrNoProof", c, err)
	}
}

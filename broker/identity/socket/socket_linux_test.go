package socket

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

	"github.com/gatepass/gatepass/broker"
)

// What the kernel says of the other end is what a caller is.
func TestIdentifyByThePeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	callers := make(chan broker.Caller, 1)
	server := &http.Server{ConnContext: ConnContext, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c, err := Identifier{}.Identify(r.Context(), r)
		if err != nil {
			t.Errorf("Identify = %v", err)
		}
		callers <- c
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	response, err := client.Get("http://broker/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	c := <-callers
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	other := uid + 1
	for _, s := range []struct {
		settings Settings
		want     bool
	}{{Settings{}, true}, {Settings{UID: &uid}, true}, {Settings{UID: &uid, GID: &gid}, true}, {Settings{UID: &other}, false}} {
		if got, err := s.settings.Match().Match(c); err != nil || got != s.want {
			t.Errorf("%+v matches: %v, %v, want %v", s.settings, got, err, s.want)
		}
	}
	if pid, _ := c.Claim("pid"); pid != strconv.Itoa(os.Getpid()) || c.Method != "socket" {
		t.Errorf("the caller is %+v, want this process", c)
	}
}

func TestNobodyOnOtherConnections(t *testing.T) {
	if _, err := (Identifier{}).Identify(t.Context(), nil); !errors.Is(err, broker.ErrNoProof) {
		t.Errorf("Identify = %v, want ErrNoProof", err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := (Identifier{}).Identify(ConnContext(t.Context(), a), nil); !errors.Is(err, broker.ErrNoProof) {
		t.Errorf("Identify over a pipe = %v, want ErrNoProof", err)
	}
}

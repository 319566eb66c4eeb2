//go:build linux

package systemd

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestSocketsThatWereHandedOver(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	f, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	fd := int(f.Fd()) // sockets closes it
	me := strconv.Itoa(os.Getpid())
	got, err := sockets(env("LISTEN_PID", me, "LISTEN_FDS", "1", "LISTEN_FDNAMES", "https"), fd)
	if err != nil || len(got) != 1 || got[0].Name != "https" || got[0].Addr().String() != tcp.Addr().String() {
		t.Fatalf("Sockets = %v, %v", got, err)
	}
	defer got[0].Close()
	if err := tcp.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", got[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	f.Close()
}

func TestSocketsOfOthers(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		name    string
		env     func(string) string
		isError bool
	}{
		{"none", env(), false},
		{"for another process", env("LISTEN_PID", "1", "LISTEN_FDS", "1"), false},
		{"not a count", env("LISTEN_PID", me, "LISTEN_FDS", "many"), true},
		{"too many", env("LISTEN_PID", me, "LISTEN_FDS", "100000"), true},
		{"a descriptor that is no socket", env("LISTEN_PID", me, "LISTEN_FDS", "1"), true},
	} {
		devNull, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		got, err := sockets(c.env, int(devNull.Fd()))
		if len(got) != 0 || (err != nil) != c.isError {
			t.Errorf("%s: Sockets = %v, %v, want an error: %v", c.name, got, err, c.isError)
		}
		devNull.Close()
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := Notify(env("NOTIFY_SOCKET", path), Ready); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("systemd is told %q, %v", buf[:n], err)
	}
	if err := Notify(env(), Ready); err != nil {
		t.Errorf("without a socket: %v", err)
	}
	if err := Notify(env("NOTIFY_SOCKET", "localhost:1"), Ready); err == nil {
		t.Error("a socket that is none is told")
	}
}

package oskeyring

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct{ address, socket string }{
		{"unix:path=/run/user/1000/bus", "/run/user/1000/bus"},
		{"unix:path=/run/user/1000/bus,guid=0123", "/run/user/1000/bus"},
		{"unix:guid=0123,path=/a%20b%2c%3b", "/a b,;"},
		{"unix:abstract=/tmp/dbus-x,guid=1", "@/tmp/dbus-x"},
		{"tcp:host=127.0.0.1,port=1;unix:path=/bus", "/bus"},
		{"unix:tmpdir=/tmp;unix:path=/bus", "/bus"},
		{"unix:path=relative", ""},
		{"unix:path=/%zz", ""},
		{"unix:path=/x%00y", ""},
		{"unix:path=", ""},
		{"tcp:host=127.0.0.1,port=1", ""},
		{"unixexec:path=/bin/sh", ""},
		{"autolaunch:", ""},
		{"disabled:", ""},
		{";", ""},
	} {
		socket, err := parseAddress(c.address)
		if socket != c.socket || (err == nil) != (c.socket != "") {
			t.Errorf("parseAddress(%q) = %q, %v, want %q", c.address, socket, err, c.socket)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("unix:path=/run/user/1000/bus,guid=0123;tcp:host=x")
	f.Add("unix:abstract=%2ftmp%zz")
	f.Fuzz(func(t *testing.T, address string) {
		socket, err := parseAddress(address)
		if (err == nil) != (socket != "") || err == nil && socket[0] != '/' && socket[0] != '@' || strings.Contains(socket, "\x00") {
			t.Errorf("parseAddress(%q) = %q, %v", address, socket, err)
		}
	})
}

func TestBusSocket(t *testing.T) {
	dir := t.TempDir()
	listen(t, filepath.Join(dir, "bus"))
	plain := t.TempDir()
	if err := os.WriteFile(filepath.Join(plain, "bus"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "bus"), filepath.Join(linked, "bus")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, address, run, socket string }{
		{"the address", "unix:path=/bus", dir, "/bus"},
		{"the runtime directory", "", dir, dir + "/bus"},
		{"neither", "", "", ""},
		{"no socket there", "", t.TempDir(), ""},
		{"a file there", "", plain, ""},
		{"a link there", "", linked, ""},
		{"a relative directory", "", ".", ""},
		{"an address that would start a bus", "autolaunch:", dir, ""},
	} {
		env := map[string]string{"DBUS_SESSION_BUS_ADDRESS": c.address, "XDG_RUNTIME_DIR": c.run}
		socket, err := busSocket(func(name string) string { return env[name] })
		if socket != c.socket || (err == nil) != (c.socket != "") {
			t.Errorf("%s: busSocket = %q, %v, want %q", c.name, socket, err, c.socket)
		}
	}
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// trap puts programs on PATH that start a bus or a keyring. The returned function tells
// which of them ran.
func trap(t *testing.T) (ran func() []string) {
	t.Helper()
	dir, log := t.TempDir(), t.TempDir()
	for _, name := range []string{"dbus-launch", "dbus-daemon", "dbus-run-session", "gnome-keyring-daemon"} {
		script := fmt.Sprintf("#!/bin/sh\n: >%s/%s\n", log, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return func() []string {
		entries, err := os.ReadDir(log)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
}

// children lists the processes that this one started.
func children(t *testing.T) string {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		all.Write(text)
	}
	return all.String()
}

func TestWithoutABusNothingIsStarted(t *testing.T) {
	ran := trap(t)
	before := children(t)
	for _, address := range []string{"", "autolaunch:", "unixexec:path=dbus-launch", "unix:path=" + t.TempDir() + "/gone"} {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		var c *Cache
		soon(t, "address "+address+": the answer", func() {
			c = &Cache{Source: &issuer{}}
			want(t, c, widgets, "tok-1")
		})
		if c.Warning() == nil {
			t.Errorf("address %q: Warning = nil, want that there is no session bus", address)
		}
		if os.Getenv("DBUS_SESSION_BUS_ADDRESS") != address {
			t.Errorf("address %q was changed to %q", address, os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
		}
	}
	if names, after := ran(), children(t); len(names) > 0 || after != before {
		t.Errorf("started %q, children %q and before %q, want nothing", names, after, before)
	}
}

// A bus may hang at any point of the conversation.
func TestASilentBus(t *testing.T) {
	for name, talk := range map[string]func(net.Conn){
		"silent from the start":       func(net.Conn) {},
		"silent after the handshake":  handshake,
		"silent in a message":         func(c net.Conn) { handshake(c); _, _ = c.Write([]byte("l\x02\x01\x01\xff\xff\xff\x00")) },
		"that never ends a line":      func(c net.Conn) { trickle(c, "x") },
		"that sends what no bus says": func(c net.Conn) { handshake(c); trickle(c, "garbage") },
	} {
		t.Run(name, func(t *testing.T) {
			address := serveBus(t, talk)
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
			soon(t, "the answer", func() {
				c := &Cache{Source: &issuer{}}
				want(t, c, widgets, "tok-1")
				if err := c.Warning(); !errors.Is(err, errNoAnswer) {
					t.Fatalf("Warning = %v, want %v", err, errNoAnswer)
				}
			})
		})
	}
}

// soon checks that do returns within 300 ms. A loaded machine may be late, but not
// every time.
func soon(t *testing.T, what string, do func()) {
	t.Helper()
	best := time.Hour
	for range 30 {
		start := time.Now()
		do()
		if best = min(best, time.Since(start)); best <= 300*time.Millisecond {
			return
		}
	}
	t.Errorf("%s took %v, want at most 300 ms", what, best)
}

// serveBus accepts a connection on a socket and calls talk, then waits until the other
// side closes it. It returns the socket's D-Bus address.
func serveBus(t *testing.T, talk func(net.Conn)) string {
	path := filepath.Join(t.TempDir(), "bus")
	l := listen(t, path)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				talk(conn)
				_, _ = bufio.NewReader(conn).WriteTo(discard{})
			}()
		}
	}()
	return "unix:path=" + path
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// handshake is the server's part of the authentication of a D-Bus connection.
func handshake(c net.Conn) {
	r := bufio.NewReader(c)
	for _, answer := range []string{"REJECTED EXTERNAL\r\n", "OK 0123456789abcdef0123456789abcdef\r\n"} {
		if _, err := r.ReadString('\n'); err != nil {
			return
		}
		_, _ = c.Write([]byte(answer))
	}
}

func trickle(c net.Conn, text string) {
	for {
		if _, err := c.Write([]byte(text)); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAnotherUsersBusIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to listen as another user")
	}
	address := listenAs(t, 12345)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
	c := &Cache{Source: &issuer{}}
	want(t, c, widgets, "tok-1")
	if err := c.Warning(); !errors.Is(err, errForeign) {
		t.Errorf("Warning = %v, want %v", err, errForeign)
	}
}

// listenAs listens on a socket as another user and never answers there. The kernel
// records who called listen(2), so a thread takes that user's identity for the call and
// then ends.
func listenAs(t *testing.T, uid int) (address string) {
	t.Helper()
	name := fmt.Sprintf("gatepass-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		result <- func() error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			t.Cleanup(func() { unix.Close(fd) })
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + name}); err != nil {
				return err
			}
			if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), 0); errno != 0 {
				return errno
			}
			return unix.Listen(fd, 8)
		}()
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	return "unix:abstract=" + name
}

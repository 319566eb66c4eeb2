package oskeyring

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

var (
	errNoBus    = errors.New("there is no session bus")
	errOtherBus = errors.New("the session bus is not a socket on this machine")
	errForeign  = errors.New("the session bus belongs to another user")
)

// busSocket returns the socket of the session bus, in the form of [net.Dial]: from
// DBUS_SESSION_BUS_ADDRESS or, if that is not set, $XDG_RUNTIME_DIR/bus. It starts no
// bus.
func busSocket(getenv func(string) string) (string, error) {
	if address := getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" {
		return parseAddress(address)
	}
	run := getenv("XDG_RUNTIME_DIR")
	if !strings.HasPrefix(run, "/") {
		return "", errNoBus
	}
	info, err := os.Lstat(run + "/bus")
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return "", errNoBus
	}
	return run + "/bus", nil
}

// parseAddress returns the first Unix socket of a D-Bus address, a list
// "transport:key=value,key=value;…" with values escaped by "%" (Server Addresses in
// the D-Bus specification). It skips other transports: they start programs, or send
// tokens through a network.
func parseAddress(list string) (string, error) {
	for address := range strings.SplitSeq(list, ";") {
		transport, options, _ := strings.Cut(address, ":")
		if transport != "unix" {
			continue
		}
		for option := range strings.SplitSeq(options, ",") {
			key, text, _ := strings.Cut(option, "=")
			value, err := url.PathUnescape(text)
			switch {
			case err != nil || value == "" || strings.Contains(value, "\x00"):
			case key == "path" && value[0] == '/':
				return value, nil
			case key == "abstract":
				return "@" + value, nil
			}
		}
	}
	return "", errOtherBus
}

// dialBus connects to the session bus. The connection closes when ctx ends.
func dialBus(ctx context.Context) (*dbus.Conn, error) {
	socket, err := busSocket(os.Getenv)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, errNoBus
	}
	if !ours(conn.(*net.UnixConn)) {
		conn.Close()
		return nil, errForeign
	}
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end) // the handshake takes no context
	}
	bus, err := dbus.NewConn(conn, dbus.WithContext(ctx))
	if err != nil {
		conn.Close()
		return nil, err
	}
	err = bus.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))})
	if err == nil {
		err = bus.Hello()
	}
	if err != nil {
		bus.Close()
		return nil, errNoAnswer
	}
	return bus, nil
}

// ours reports whether the process at the other end belongs to this user or root.
func ours(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	own := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		own = err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
	})
	return err == nil && own
}

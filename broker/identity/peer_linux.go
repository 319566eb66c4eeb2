package identity

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gatepass/gatepass/broker"
)

// Peer is the process that connected. The credentials are those at the time of the connect,
// also if the process changes its user later (unix(7), SO_PEERCRED).
type Peer struct {
	UID, GID uint32
	PID      int32
}

type contextKey struct{}

// ConnContext stores the peer of a Unix socket connection in the context, for
// [http.Server.ConnContext].
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	unixConn, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	peer, err := peerOf(unixConn)
	if err != nil {
		return ctx // an unknown peer gets no identity
	}
	return context.WithValue(ctx, contextKey{}, peer)
}

func peerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(controlErr, err); err != nil {
		return Peer{}, err
	}
	return Peer{cred.Uid, cred.Gid, cred.Pid}, nil
}

// SocketIdentifier identifies callers on a Unix socket. Its claims are uid, gid and
// pid.
type SocketIdentifier struct{}

// Identify implements [broker.Identifier].
func (SocketIdentifier) Identify(ctx context.Context, _ *http.Request) (broker.Caller, error) {
	peer, ok := ctx.Value(contextKey{}).(Peer)
	if !ok {
		return broker.Caller{}, broker.ErrNoProof
	}
	number := func(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }
	return broker.NewCaller("socket", map[string]any{"uid": number(int64(peer.UID)), "gid": number(int64(peer.GID)), "pid": number(int64(peer.PID))})
}

//go:build !linux

package identity

import (
	"context"
	"net"
	"net/http"

	"github.com/gatepass/gatepass/broker"
)

// ConnContext changes nothing.
func ConnContext(ctx context.Context, _ net.Conn) context.Context { return ctx }

// SocketIdentifier identifies nobody.
type SocketIdentifier struct{}

// Identify implements [broker.Identifier].
func (SocketIdentifier) Identify(context.Context, *http.Request) (broker.Caller, error) {
	return broker.Caller{}, broker.ErrNoProof
}

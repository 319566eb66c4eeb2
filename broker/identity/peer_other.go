//go:build !linux

package identity

import (
	"context"
	"net"
	"net/http"

	"github.com/gatepass/gatepass/broker"
)

// ConnContext returns ctx unchanged.
func ConnContext(ctx context.Context, _ net.Conn) context.Context { return ctx }

// SocketIdentifier identifies no caller.
type SocketIdentifier struct{}

// Identify implements [broker.Identifier].
func (SocketIdentifier) Identify(context.Context, *http.Request) (broker.Caller, error) {
	return broker.Caller{}, broker.ErrNoProof
}

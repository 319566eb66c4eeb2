//go:build !linux

package socket

import (
	"context"
	"net"
	"net/http"

	"github.com/gatepass/gatepass/broker"
)

// ConnContext changes nothing.
func ConnContext(ctx context.Context, _ net.Conn) context.Context { return ctx }

// Identifier identifies nobody.
type Identifier struct{}

// Identify implements [broker.Identifier].
func (Identifier) Identify(context.Context, *http.Request) (broker.Caller, error) {
	return broker.Caller{}, broker.ErrNoProof
}

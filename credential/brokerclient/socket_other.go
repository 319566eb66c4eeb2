//go:build !unix

package brokerclient

import "github.com/gatepass/gatepass/internal/usererr"

// check refuses every socket: without Unix owners, its owner is unknown.
func (s socket) check() error {
	return usererr.New("ask the broker at socket "+s.path, "socket sources need a Unix system", "use broker+https")
}

//go:build !unix

package brokerclient

import "github.com/gatepass/gatepass/internal/usererr"

// check refuses: without Unix owners nothing tells whose socket it is.
func (s socket) check() error {
	return usererr.New("ask the broker at socket "+s.path, "socket sources need a Unix system", "use broker+https")
}

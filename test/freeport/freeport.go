// Package freeport finds free ports for test programs that must be told where to
// listen.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports from low to below high are ports that a system does not choose by itself for a
// connection or a listener: Linux takes those from 32768 on (ip(7),
// ip_local_port_range), macOS from 49152 on. So a program that lets the system choose
// does not get one of them in the meantime.
const low, high = 20000, 32000

// Address returns an address of the loopback interface with a free port.
func Address() (string, error) {
	var failed error
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(low+rand.IntN(high-low)))
		l, err := net.Listen("tcp", address)
		if err == nil {
			return address, l.Close()
		}
		failed = errors.Join(failed, err)
	}
	return "", failed
}

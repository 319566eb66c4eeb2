// Package freeport finds a place to listen at for programs that have to be told
// one, in tests.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports from low to below high are none that a system gives to a connection, or to
// a listener that leaves the choice to it: Linux takes those from 32768 on
// (ip(7), ip_local_port_range), macOS from 49152 on. So whoever asks the system for
// one meanwhile does not get it.
const low, high = 20000, 32000

// Address returns an address of the loopback interface, with a port that nobody
// listens at.
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

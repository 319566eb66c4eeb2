package freeport

import (
	"net"
	"strconv"
	"testing"
)

func TestAddressCanBeListenedAt(t *testing.T) {
	for range 20 {
		address, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("Listen(%s) = %v, want it free", address, err)
		}
		l.Close()
		_, port, _ := net.SplitHostPort(address)
		if n, err := strconv.Atoi(port); err != nil || n < 1024 || n >= 32768 {
			t.Errorf("Address() = %s, want a port that the system does not choose", address)
		}
	}
}

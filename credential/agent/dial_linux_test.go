package agent

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestAskGivesUpUnderSignals interrupts the waiting thread more often than the deadline
// is long, as Go's scheduler does with the helper's only goroutine.
func TestAskGivesUpUnderSignals(t *testing.T) {
	socket := short(t) + "/silent.sock"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread, answered, quiet := syscall.Gettid(), make(chan struct{}), make(chan struct{})
	time.AfterFunc(10*time.Second, func() { l.Close() }) // so that the test ends if it fails
	go func() {
		defer close(quiet)
		for {
			select {
			case <-answered:
				return
			case <-time.After(10 * time.Millisecond):
				_ = syscall.Tgkill(syscall.Getpid(), thread, syscall.SIGURG)
			}
		}
	}()
	start := time.Now()
	_, err = ask(socket, Call{Operation: Get, Config: "/x"}, start.Add(200*time.Millisecond))
	close(answered)
	<-quiet
	if !errors.Is(err, ErrDeadline) || time.Since(start) > 5*time.Second {
		t.Errorf("ask = %v after %v, want %v soon", err, time.Since(start), ErrDeadline)
	}
}

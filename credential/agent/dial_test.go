package agent

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestAskWithoutAnAgent(t *testing.T) {
	dir := short(t)
	_, err := ask(dir+"/none.sock", Call{}, time.Now().Add(30*time.Second))
	if !errors.Is(err, errNoAgent) {
		t.Errorf("ask = %v, want %v", err, errNoAgent)
	}
}

func TestAskGivesUpOnASilentAgent(t *testing.T) {
	socket := short(t) + "/silent.sock"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start := time.Now()
	_, err = ask(socket, Call{Operation: Get, Config: "/x"}, start.Add(100*time.Millisecond))
	if !errors.Is(err, ErrDeadline) || time.Since(start) > 5*time.Second {
		t.Errorf("ask = %v after %v, want %v soon", err, time.Since(start), ErrDeadline)
	}
}

func TestAskNoticesAnAgentThatGoesAway(t *testing.T) {
	socket := short(t) + "/going.sock"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Close()
		}
	}()
	_, err = ask(socket, Call{Operation: Get, Config: "/x"}, time.Now().Add(30*time.Second))
	if !errors.Is(err, errNoReply) {
		t.Errorf("ask = %v, want %v", err, errNoReply)
	}
}

// The agent gives up on a source early enough to report that.
func TestAskLeavesTheAgentTimeToAnswer(t *testing.T) {
	for _, c := range []struct{ wait, least, most time.Duration }{
		{time.Hour, 59 * time.Minute, time.Hour - 500*time.Millisecond},
		{100 * time.Second, 30 * time.Second, 99500 * time.Millisecond},
		{2 * time.Second, -time.Hour, 1800 * time.Millisecond},
	} {
		if got := timeToAnswer(time.Now().Add(c.wait)); got < c.least || got > c.most {
			t.Errorf("of %v, the agent has %v, want %v to %v", c.wait, got, c.least, c.most)
		}
	}
	socket := short(t) + "/told.sock"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	told := make(chan time.Duration, 1)
	go func() {
		defer close(told)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		n, _ := conn.Read(buf)
		if call, whole, err := ParseCall(buf[:n]); whole && err == nil {
			told <- call.Timeout
		}
	}()
	_, _ = ask(socket, Call{Operation: Get, Config: "/x"}, time.Now().Add(time.Hour))
	if got := <-told; got <= 0 || got > time.Hour-500*time.Millisecond {
		t.Errorf("of an hour, the agent is told of %v, want a little less", got)
	}
}

// TestAskWithoutSockets checks that the one-shot child answers where a filter forbids
// Unix sockets.
func TestAskWithoutSockets(t *testing.T) {
	openSocket = func() (int, error) { return -1, syscall.EPERM }
	t.Cleanup(func() { openSocket = newSocket })
	wantChildsAnswer(t, short(t))
}

// TestAskWithoutAStartLock checks that the child also answers where nothing can be
// written beside the socket. A directory in the place of the lock stops even root.
func TestAskWithoutAStartLock(t *testing.T) {
	dir := short(t)
	place, err := Locate("/x", env(map[string]string{"XDG_RUNTIME_DIR": dir}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(place.Start, 0o700); err != nil {
		t.Fatal(err)
	}
	wantChildsAnswer(t, dir)
}

// wantChildsAnswer asks with dir as the runtime directory and an agent program
// that can only answer once.
func wantChildsAnswer(t *testing.T, dir string) {
	t.Helper()
	answer := "#!/bin/sh\nhead -n 1 >/dev/null\nprintf 'gatepass/2 0 3 0\\nyes'\n"
	if err := os.WriteFile(dir+"/"+Program, []byte(answer), 0o755); err != nil {
		t.Fatal(err)
	}
	getenv := env(map[string]string{"XDG_RUNTIME_DIR": dir, "PATH": dir})
	r, err := Ask(Call{Operation: Get, Config: "/x"}, getenv, time.Now().Add(time.Minute))
	if err != nil || string(r.Stdout) != "yes" {
		t.Errorf("Ask = %q, %v, want the child's answer", r.Stdout, err)
	}
}

// The process that starts the agent may be slow; others wait for it as long as
// GATEPASS_TIMEOUT allows, which is longer than the five seconds of earlier versions.
func TestWaitForAnothersStartLastsUntilTheDeadline(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for six seconds")
	}
	t.Parallel()
	place, err := Locate("/x", env(map[string]string{"XDG_RUNTIME_DIR": short(t)}))
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := lockStart(place, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	time.AfterFunc(6*time.Second, unlock)
	second, err := lockStart(place, begun.Add(time.Minute))
	if err != nil {
		t.Fatalf("lockStart after %v = %v, want the lock once it is free", time.Since(begun), err)
	}
	defer second()
	if _, err := lockStart(place, time.Now().Add(50*time.Millisecond)); err != errBusyStart {
		t.Errorf("lockStart = %v, want %v at the deadline", err, errBusyStart)
	}
}

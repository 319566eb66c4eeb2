package agent

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Program is the file name of the agent, which is beside the helper or on PATH.
const Program = "gatepass-agent"

// The first line that a started agent prints.
const (
	Ready = "ready" // an agent listens on the socket
	Once  = "once"  // no agent can or should run: write the call to the child's standard input
)

var errNoProgram = errors.New(Program + " is neither next to this program nor on PATH")

// errNoLock reports that no lock can be taken in the agent's place: the file system is
// read-only or full, or has no locks, like some NFS, 9p and gVisor.
var errNoLock = errors.New("the start lock's file cannot be opened")

var errBusyStart error = usererr.New("ask "+Program, "another process is still starting it", "set a longer GATEPASS_TIMEOUT, or run gatepass agent status")

// Ask makes the call. If no agent runs, it starts one; if none can run, the started
// program answers this one call itself. The call ends at the deadline.
func Ask(c Call, getenv func(string) string, deadline time.Time) (Reply, error) {
	if strings.ContainsAny(c.Config, "\n\r\x00") {
		return Reply{}, errors.New("the name of the workspace file contains a line break")
	}
	for range 4 { // a missing agent, a start that changes the place, a file that changes meanwhile
		place, err := Locate(c.Config, getenv)
		if err != nil {
			return runOnce(c, getenv, deadline)
		}
		c.Identity = place.Identity
		reply, err := ask(place.Socket, c, deadline)
		if err == errNoSocket {
			return runOnce(c, getenv, deadline)
		}
		if err != errNoAgent && err != errNoReply {
			return reply, err
		}
		reply, answered, err := start(place, c, getenv, deadline)
		if answered || err != nil {
			return reply, err
		}
	}
	return Reply{}, errNoReply
}

// AskRunning makes the call if an agent runs; found is false if none does.
func AskRunning(c Call, getenv func(string) string, deadline time.Time) (reply Reply, found bool, err error) {
	place, err := Locate(c.Config, getenv)
	if err != nil {
		return Reply{}, false, nil
	}
	c.Identity = place.Identity
	return AskAt(place.Socket, c, deadline)
}

// AskAt is like AskRunning, for the agent at a socket of [Sockets].
func AskAt(socket string, c Call, deadline time.Time) (reply Reply, found bool, err error) {
	reply, err = ask(socket, c, deadline)
	if err == errNoAgent || err == errNoReply || err == errNoSocket {
		return Reply{}, false, nil
	}
	return reply, true, err
}

// start makes sure that an agent listens. One process at a time starts it; the others
// wait. answered is true if no agent can run and a child answered the call instead.
func start(place Place, c Call, getenv func(string) string, deadline time.Time) (reply Reply, answered bool, err error) {
	unlock, err := lockStart(place, deadline)
	if err == errNoLock {
		reply, err := runOnce(c, getenv, deadline)
		return reply, true, err
	}
	if err != nil {
		return Reply{}, false, err
	}
	defer unlock()
	if now, err := Locate(c.Config, getenv); err == nil && now != place {
		return Reply{}, false, nil // the process before us left a hint
	}
	if fd, err := dial(place.Socket, deadline); err == nil {
		syscall.Close(fd)
		return Reply{}, false, nil // the process before us started it
	}
	child, err := spawn(c.Config, getenv, "--start")
	if err != nil {
		return Reply{}, false, err
	}
	defer child.close()
	word, err := child.readWord(deadline)
	if err != nil || word == Ready {
		return Reply{}, false, err
	}
	unlock() // other callers need not wait for a child that answers one call
	reply, err = child.call(c, deadline)
	return reply, true, err
}

func runOnce(c Call, getenv func(string) string, deadline time.Time) (Reply, error) {
	child, err := spawn(c.Config, getenv, "--once")
	if err != nil {
		return Reply{}, err
	}
	defer child.close()
	return child.call(c, deadline)
}

// flock is flock(2), except in the test of a file system without locks.
var flock = syscall.Flock

// lockStart takes the start lock. It waits for another process's start until the
// deadline, in short sleeps: flock(2) has no timeout.
func lockStart(place Place, deadline time.Time) (unlock func(), err error) {
	fd, err := syscall.Open(place.Start, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, errNoLock
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			closed := false
			return func() {
				if !closed {
					closed = true
					syscall.Close(fd)
				}
			}, nil
		}
		busy := err == syscall.EWOULDBLOCK || err == syscall.EINTR
		if !busy || time.Now().After(deadline) {
			syscall.Close(fd)
			if !busy {
				return nil, errNoLock
			}
			return nil, errBusyStart
		}
		time.Sleep(wait)
	}
}

// Find returns the agent's path: beside this program, or else on PATH. It skips
// relative entries of PATH, since git runs in directories that others fill.
func Find(getenv func(string) string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if path := self[:strings.LastIndexByte(self, '/')+1] + Program; executable(path) {
			return path, nil
		}
	}
	for dir := range strings.SplitSeq(getenv("PATH"), ":") {
		if path := dir + "/" + Program; strings.HasPrefix(dir, "/") && executable(path) {
			return path, nil
		}
	}
	return "", errNoProgram
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// closeOnExecEach does the work of closeOnExec on kernels that cannot do it in one
// call.
func closeOnExecEach() {
	for fd := 3; fd < 1024; fd++ {
		syscall.CloseOnExec(fd)
	}
}

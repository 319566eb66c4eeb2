package agent

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Program is the agent's name beside the helper and on PATH.
const Program = "gatepass-agent"

// Words that a starting agent says on its standard output, each a line.
const (
	Ready = "ready" // an agent listens on the socket
	Once  = "once"  // none can or should run: write the call to my standard input
)

var errNoProgram = errors.New(Program + " is neither beside this program nor on PATH")

// errNoLock reports that the place of the agent cannot be written to, as on a
// file system that is read-only or full, or that it has no locks, as some NFS, 9p
// and gVisor.
var errNoLock = errors.New("no file for the start lock can be opened")

var errBusyStart error = usererr.New("ask "+Program, "another process is still starting it", "give it longer with GATEPASS_TIMEOUT, or see gatepass agent status")

// Ask makes the call. Where no agent runs it starts one, and where none can run
// the started program answers this one call itself.
func Ask(c Call, getenv func(string) string, deadline time.Time) (Reply, error) {
	if strings.ContainsAny(c.Config, "\n\r\x00") {
		return Reply{}, errors.New("the name of the workspace file has a line end")
	}
	for range 4 { // no agent, a start that teaches us the place, a file that has changed meanwhile
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

// AskRunning makes the call if an agent runs; found is false where none does.
func AskRunning(c Call, getenv func(string) string, deadline time.Time) (reply Reply, found bool, err error) {
	place, err := Locate(c.Config, getenv)
	if err != nil {
		return Reply{}, false, nil
	}
	c.Identity = place.Identity
	return AskAt(place.Socket, c, deadline)
}

// AskAt is AskRunning for the agent at a socket of [Sockets].
func AskAt(socket string, c Call, deadline time.Time) (reply Reply, found bool, err error) {
	reply, err = ask(socket, c, deadline)
	if err == errNoAgent || err == errNoReply || err == errNoSocket {
		return Reply{}, false, nil
	}
	return reply, true, err
}

// start makes sure that an agent listens. One process at a time starts; the
// others wait for it. answered is true when no agent can run and the call was
// answered by a child instead.
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
		return Reply{}, false, nil // the one before us left a hint
	}
	if fd, err := dial(place.Socket, deadline); err == nil {
		syscall.Close(fd)
		return Reply{}, false, nil // the one before us started it
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
	unlock() // a child that answers one call keeps nobody else waiting
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

// flock is flock(2), but for the test of a file system that has none.
var flock = syscall.Flock

// lockStart takes the start lock, and waits for another process' start until the
// deadline. Waiting is by short sleeps: flock(2) itself has no time limit.
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

// Find returns the agent's path: beside this program, else on PATH. Relative
// entries of PATH are passed over, since git runs in directories that others
// fill.
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

// closeOnExecEach is closeOnExec where the kernel cannot do it in one call.
func closeOnExecEach() {
	for fd := 3; fd < 1024; fd++ {
		syscall.CloseOnExec(fd)
	}
}

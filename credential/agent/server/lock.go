package server

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	lockWait = 3 * time.Second // for another agent to finish ending

	// maxAgents is the largest number of resident agents of a user. Calls from further
	// environments are answered without one.
	maxAgents = 64
)

// ErrRunning reports that another agent already listens.
var ErrRunning = errors.New("another agent is running")

var errTooMany = usererr.New("start an agent", "this user runs the largest number of agents already", "stop them with gatepass agent stop")

// flock is flock(2), except in the test of a file system without locks.
var flock = syscall.Flock

// takeLock takes the lock file for the life of the agent. It waits a moment for an
// agent that is about to end.
func takeLock(path string) (unlock func(), err error) {
	for until := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		f, err := tryLock(path, os.O_RDWR|os.O_CREATE)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case err != syscall.EWOULDBLOCK && err != syscall.EINTR:
			return nil, usererr.Wrap("lock "+path, err, "")
		case answers(path) || time.Now().After(until):
			return nil, ErrRunning
		}
	}
}

// tryLock returns EWOULDBLOCK if another process holds the file, or has just removed
// it.
func tryLock(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = stillThere(f, path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func stillThere(f *os.File, path string) error {
	held, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Lstat(path); err != nil || !os.SameFile(held, there) {
		return syscall.EWOULDBLOCK
	}
	return nil
}

// answers reports whether the agent that holds lock listens.
func answers(lock string) bool {
	conn, err := net.Dial("unix", strings.TrimSuffix(lock, ".lock")+".sock")
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// sweep removes the files of agents that have ended, and returns how many still run,
// not counting the one that holds own.
func sweep(directory, own string) (running int) {
	entries, _ := os.ReadDir(directory)
	for _, entry := range entries {
		lock := filepath.Join(directory, entry.Name())
		if !strings.HasSuffix(lock, ".lock") || lock == own {
			continue
		}
		f, err := tryLock(lock, os.O_RDWR)
		if err == syscall.EWOULDBLOCK {
			running++
		}
		if err != nil {
			continue
		}
		base := strings.TrimSuffix(lock, ".lock")
		for _, end := range []string{".sock.new", ".sock", ".start", ".lock"} {
			_ = os.Remove(base + end)
		}
		f.Close()
	}
	return running
}

//go:build unix

package filestore

import (
	"context"
	"os"
	"syscall"
	"time"
)

// maxLocked is how long to wait for a lock. Its holder writes one small file.
const maxLocked = 10 * time.Second

// flock is flock(2), except in the test of a file system without locks.
var flock = syscall.Flock

// lock prevents other processes, and other callers in this one, from changing the
// folder. The kernel releases it when its holder dies.
func lock(ctx context.Context, root *os.Root) (unlock func(), err error) {
	f, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxLocked)
	defer cancel()
	for {
		err := flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch err {
		case nil:
			return func() { f.Close() }, nil
		case syscall.EWOULDBLOCK, syscall.EINTR:
		case syscall.EOPNOTSUPP, syscall.ENOLCK, syscall.ENOSYS:
			f.Close()
			return nil, errNoLocks
		default:
			f.Close()
			return nil, err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, errLocked
		}
	}
}

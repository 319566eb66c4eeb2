package audit

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Reopen goes on in another file where this one was renamed or deleted: the new
// one's head names the last line of the old. Where somebody took lines out of the
// file, its head or the next file's says so. It does nothing where the file is as it
// was left. Every Write looks as well.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return os.ErrClosed
	}
	err := l.recover()
	if err != nil {
		l.fail(err)
	}
	if err = errors.Join(err, l.astray); err != nil {
		return usererr.Wrap("go on in another audit log "+l.path, bare(err), "move away what is there")
	}
	return nil
}

// rotateAt begins another file where this one has grown to size. The caller holds
// mu.
func (l *Log) rotateAt(size int64) error {
	if size <= 0 || l.size < size {
		return nil
	}
	if l.astray != nil { // it goes on in a renamed file, which is for others to rotate
		return nil
	}
	return l.setAside(goesOn)
}

// setAside renames the file, and begins another. The caller holds mu.
func (l *Log) setAside(detail string) error {
	name := fmt.Sprintf("%s.%s-%d", l.path, time.Now().UTC().Format("20060102T150405Z"), l.seq)
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there already", name)
	}
	if err := os.Rename(l.path, name); err != nil {
		return err
	}
	return l.follow(name, detail)
}

// follow begins the next file. Until that is done the old one is written. The
// caller holds mu.
func (l *Log) follow(oldName, detail string) error {
	if err := l.file.Sync(); err != nil {
		return err
	}
	next, err := openFile(l.path)
	if err != nil {
		return err
	}
	info, err := next.Stat()
	if err == nil && info.Size() > 0 {
		err = errors.New("a file that is not empty has taken its place")
	}
	if err != nil {
		return errors.Join(err, next.Close())
	}
	old, oldSize, oldSynced := l.file, l.size, l.synced
	l.file, l.size, l.synced = next, 0, l.seq
	if err := l.begin(detail, oldName); err != nil {
		if isGone(old) { // it would keep a disk full as long as it is open
			return errors.Join(err, old.Close(), l.settle(next))
		}
		l.file, l.size, l.synced = old, oldSize, oldSynced
		return errors.Join(err, next.Close())
	}
	if err := l.settle(next); err != nil {
		l.fail(err)
	}
	return old.Close()
}

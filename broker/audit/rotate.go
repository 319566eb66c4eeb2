package audit

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/version"
)

// Reopen goes on in another file where this one was renamed or deleted: the new
// one's head names the last line of the old. It does nothing where the file is
// still in its place.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return os.ErrClosed
	}
	isOurs, err := l.isInPlace()
	if err == nil && !isOurs {
		err = l.follow("")
	}
	if err != nil {
		return oneline.Wrap("go on in another audit log "+l.path, bare(err), "move away what is there")
	}
	return nil
}

func (l *Log) isInPlace() (bool, error) {
	ours, err := l.file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, there), err
}

// rotateAt begins another file where this one has grown to size. The caller holds
// mu.
func (l *Log) rotateAt(size int64) error {
	if size <= 0 || l.size < size {
		return nil
	}
	isOurs, err := l.isInPlace()
	if err != nil {
		return err
	}
	if !isOurs { // an attempt before this one got so far
		return l.follow("")
	}
	name := fmt.Sprintf("%s.%s-%d", l.path, time.Now().UTC().Format("20060102T150405Z"), l.seq)
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there already", name)
	}
	if err := os.Rename(l.path, name); err != nil {
		return err
	}
	return l.follow(name)
}

// follow begins the next file. Until that is done the old one is written. The
// caller holds mu.
func (l *Log) follow(oldName string) error {
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
	head := content{Entry: entry(KindHead, "the log goes on from another file"), Note: Note{File: oldName, Version: version.String()}}
	if err := l.put(head); err != nil {
		l.file, l.size, l.synced = old, oldSize, oldSynced
		return errors.Join(err, next.Close())
	}
	if err := l.settle(next); err != nil {
		l.fail(err)
	}
	l.tell()
	return old.Close()
}

package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
)

// Reopen begins a new file if this one was renamed or deleted; the new file's head
// names the last line of the old one. If lines were removed from the file, the next
// head records it. If the file is unchanged, Reopen does nothing. Every Write does the
// same checks.
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
	if err = errors.Join(err, l.displaced); err != nil {
		return usererr.Wrap("go on in another audit log "+l.path, withoutPath(err), "move away what is there")
	}
	return nil
}

// rotateAt begins another file if this one has size bytes or more. The caller holds mu.
func (l *Log) rotateAt(size int64) error {
	if size <= 0 || l.size < size {
		return nil
	}
	if l.displaced != nil { // the log writes to a renamed file, which another program rotates
		return nil
	}
	return l.setAside(continued)
}

// setAside renames the file and begins another. The caller holds mu.
func (l *Log) setAside(detail string) error {
	name := fmt.Sprintf("%s.%s-%d", l.path, time.Now().UTC().Format("20060102T150405Z"), l.seq)
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s exists already", name)
	}
	if err := os.Rename(l.path, name); err != nil {
		return err
	}
	return l.beginNext(name, detail)
}

// beginNext begins the next file. Until it succeeds, the log writes to the old file. The
// caller holds mu.
func (l *Log) beginNext(oldName, detail string) error {
	if err := l.file.Sync(); err != nil {
		return err
	}
	next, err := openFile(l.path)
	if err != nil {
		return err
	}
	info, err := next.Stat()
	if err == nil && info.Size() > 0 {
		err = errors.New("another file, which is not empty, has its name now")
	}
	if err != nil {
		return errors.Join(err, next.Close())
	}
	old, oldSize, oldSynced := l.file, l.size, l.synced
	l.file, l.size, l.synced = next, 0, l.seq
	if err := l.writeHead(detail, oldName); err != nil {
		if isDeleted(old) { // a deleted file takes disk space while it is open
			return errors.Join(err, old.Close(), l.syncFile(next))
		}
		l.file, l.size, l.synced = old, oldSize, oldSynced
		return errors.Join(err, next.Close())
	}
	if err := l.syncFile(next); err != nil {
		l.fail(err)
	}
	return old.Close()
}

// errEmptied reports that another program removed lines from the file while one was
// written.
var errEmptied = errors.New("another program truncated the file while it was written; rotate it by renaming it")

// continued is the detail in the next file's head.
const continued = "the log continues another file"

// checkPlace checks, before a line is written, whether the file is still in its place and has
// its expected size. Rotation by copytruncate empties the file; its next line is then a
// head that continues the chain. A file whose size changed otherwise is renamed, and
// another begun. The caller holds mu.
func (l *Log) checkPlace() error {
	ours, err := l.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(l.path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil || !os.SameFile(ours, there):
		return l.reopenPath(ours)
	}
	l.displaced = nil
	switch size := ours.Size(); {
	case size == 0:
		return l.continueFile()
	case size != l.size:
		l.countLost(l.size - size)
		return l.setAside("another program changed the file; it has another name now")
	}
	return nil
}

// reopenPath begins a file at the log's path. If that fails, the log goes on in the old
// file, unless that has been deleted or changed. The caller holds mu.
func (l *Log) reopenPath(ours fs.FileInfo) error {
	l.displaced = l.beginNext("", continued)
	if l.displaced != nil && (links(ours) == 0 || ours.Size() != l.size) {
		return l.displaced
	}
	return nil
}

// links returns the number of a file's hard links.
func links(info fs.FileInfo) uint64 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return uint64(stat.Nlink)
}

// isDeleted reports whether a file was deleted.
func isDeleted(f file) bool {
	info, err := f.Stat()
	return err == nil && links(info) == 0
}

// continueFile writes a head into a file that was emptied, or has none yet. The caller holds
// mu.
func (l *Log) continueFile() error {
	l.countLost(l.size)
	l.size = 0
	if l.lost == 0 {
		return l.writeHead(continued, "")
	}
	return l.writeHead("another program emptied the file", "")
}

// countLost records that lines were removed from the file; the next head says so. The caller
// holds mu.
func (l *Log) countLost(bytes int64) {
	if bytes == 0 {
		return // an earlier attempt has recorded it
	}
	l.lost = bytes
	if l.synced < l.seq {
		l.gone = [2]uint64{l.synced + 1, l.seq}
	}
}

// writeHead writes the head of a file. The caller holds mu.
func (l *Log) writeHead(detail, oldName string) error {
	n := Note{File: oldName, Lost: max(l.lost, 0), Version: version.String()}
	if l.lost > 0 && l.gone[1] == l.seq {
		n.Uncertain = l.gone[0]
	}
	if err := l.writeLine(content{Entry: entry(KindHead, detail), Note: n}); err != nil {
		return err
	}
	l.lost = 0
	l.copyLast()
	return nil
}

// checkWritten checks, after a write of n bytes, that they directly follow the lines before.
// If they do not, it removes them where it can and returns errEmptied. The caller holds
// mu.
func (l *Log) checkWritten(n int64) error {
	info, err := l.file.Stat()
	if err != nil || info.Size() == l.size+n {
		return err
	}
	if info.Size() <= n { // the file was emptied just before, and has only this line
		err = l.file.Truncate(0)
	}
	return errors.Join(errEmptied, err)
}

// truncateLine removes the rest of a line that could not be written. It never makes the file
// longer: that would fill a file that was emptied with zero bytes. The caller holds mu.
func (l *Log) truncateLine() error {
	info, err := l.file.Stat()
	if err != nil || info.Size() <= l.size {
		return err
	}
	return l.file.Truncate(l.size)
}

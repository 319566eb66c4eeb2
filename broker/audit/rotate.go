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

// errEmptied reports that somebody took lines out of the file while one was written.
var errEmptied = errors.New("somebody cut the file off while it was written; rotate it by renaming it")

// goesOn is what the head of the next file says.
const goesOn = "the log goes on from another file"

// stay looks, before a line is written, whether the file is still in its place and
// as long as it was left. Rotation by copytruncate empties it: its next line is a
// head then, which goes on from the last line. What was shortened or changed in
// another way is renamed, and another file begun. The caller holds mu.
func (l *Log) stay() error {
	ours, err := l.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(l.path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil || !os.SameFile(ours, there):
		return l.comeBack(ours)
	}
	l.astray = nil
	switch size := ours.Size(); {
	case size == 0:
		return l.goOn()
	case size != l.size:
		l.lose(l.size - size)
		return l.setAside("somebody changed the file, which has another name now")
	}
	return nil
}

// comeBack begins a file in the log's place. Where that fails the log goes on in
// the old one as long as that has a name. The caller holds mu.
func (l *Log) comeBack(ours fs.FileInfo) error {
	l.astray = l.follow("", goesOn)
	if l.astray != nil && (links(ours) == 0 || ours.Size() != l.size) {
		return l.astray
	}
	return nil
}

// links is how many names a file has.
func links(info fs.FileInfo) uint64 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return uint64(stat.Nlink)
}

// isGone reports whether a file has no name any more.
func isGone(f file) bool {
	info, err := f.Stat()
	return err == nil && links(info) == 0
}

// goOn begins the emptied file anew, or one that has no head yet. The caller holds mu.
func (l *Log) goOn() error {
	l.lose(l.size)
	l.size = 0
	if l.lost == 0 {
		return l.begin(goesOn, "")
	}
	return l.begin("somebody emptied the file", "")
}

// lose remembers that lines are not in the file any more, for the next head to say.
// The caller holds mu.
func (l *Log) lose(bytes int64) {
	if bytes == 0 {
		return // an attempt before this one got so far
	}
	l.lost = bytes
	if l.synced < l.seq {
		l.gone = [2]uint64{l.synced + 1, l.seq}
	}
}

// begin puts the head of a file. The caller holds mu.
func (l *Log) begin(detail, oldName string) error {
	n := Note{File: oldName, Lost: max(l.lost, 0), Version: version.String()}
	if l.lost > 0 && l.gone[1] == l.seq {
		n.Uncertain = l.gone[0]
	}
	if err := l.put(content{Entry: entry(KindHead, detail), Note: n}); err != nil {
		return err
	}
	l.lost = 0
	l.tell()
	return nil
}

// landed reports, after a write of n bytes, whether they follow what was there. The
// line is taken back where they do not. The caller holds mu.
func (l *Log) landed(n int64) error {
	info, err := l.file.Stat()
	if err != nil || info.Size() == l.size+n {
		return err
	}
	if info.Size() <= n { // the file was emptied just before, and has this line alone
		err = l.file.Truncate(0)
	}
	return errors.Join(errEmptied, err)
}

// cutBack takes what is left of a line that could not be written out of the file. It
// never makes the file longer: that would put bytes of zero where somebody emptied
// it. The caller holds mu.
func (l *Log) cutBack() error {
	info, err := l.file.Stat()
	if err != nil || info.Size() <= l.size {
		return err
	}
	return l.file.Truncate(l.size)
}

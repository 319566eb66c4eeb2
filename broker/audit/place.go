package audit

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/gatepass/gatepass/internal/version"
)

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

// Package filestamp tells whether a file is still as it was when it was read, without
// reading it again. It is for files whose programs read them again when they change.
package filestamp

import (
	"io/fs"
	"os"
)

// A Stamp is the state of a file. Two are equal when nothing of the file changed: its
// text, who may use it, or which file has the name. The zero Stamp is that of no file.
type Stamp struct {
	device, inode     uint64
	size              int64
	mode              fs.FileMode
	modified, changed int64 // in nanoseconds of Unix time
}

// Of returns the state of the file that path leads to. A file that cannot be looked
// at has the zero Stamp, and an error.
func Of(path string) (Stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}, err
	}
	return OfInfo(info), nil
}

// OfInfo returns the state of the file that a call of Stat or Lstat looked at.
func OfInfo(info fs.FileInfo) Stamp {
	s := Stamp{size: info.Size(), mode: info.Mode(), modified: info.ModTime().UnixNano()}
	s.identify(info)
	return s
}

// SameFile reports whether both are of one file, whatever became of it.
func (s Stamp) SameFile(o Stamp) bool { return s.device == o.device && s.inode == o.inode }

// SameText reports whether both are of one file with one text. Its mode and its links
// may have changed.
func (s Stamp) SameText(o Stamp) bool {
	return s.SameFile(o) && s.size == o.size && s.modified == o.modified
}

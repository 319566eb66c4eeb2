// Package filestamp detects whether a file has changed since it was read, without
// reading it again. It is for programs that reread a file when it changes.
package filestamp

import (
	"io/fs"
	"os"
)

// A Stamp is the state of a file. Two Stamps are equal if the content, the permissions
// and the file behind the name are the same. The zero Stamp means no file.
type Stamp struct {
	device, inode     uint64
	size              int64
	mode              fs.FileMode
	modified, changed int64 // in nanoseconds of Unix time
}

// Of returns the state of the file at path, following links. If it cannot stat the
// file, it returns the zero Stamp and the error.
func Of(path string) (Stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}, err
	}
	return OfInfo(info), nil
}

// OfInfo returns the state in the result of Stat or Lstat.
func OfInfo(info fs.FileInfo) Stamp {
	s := Stamp{size: info.Size(), mode: info.Mode(), modified: info.ModTime().UnixNano()}
	s.identify(info)
	return s
}

// SameFile reports whether both are Stamps of the same file, even if its content
// changed.
func (s Stamp) SameFile(o Stamp) bool { return s.device == o.device && s.inode == o.inode }

// SameText reports whether both are Stamps of the same file with the same content. Its
// mode and links may differ.
func (s Stamp) SameText(o Stamp) bool {
	return s.SameFile(o) && s.size == o.size && s.modified == o.modified
}

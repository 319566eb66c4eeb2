// Package trustedfile opens files that only root and this user can change.
//
// A program that is told by a file what it may do has to know who wrote it. As
// sshd does for a user's keys, Open looks at every directory and every link on
// the way: whoever can write to one of them can put another file in place.
package trustedfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// The permissions that [Open] can be told to refuse to group and others.
const (
	Writing           fs.FileMode = 0o022
	ReadingAndWriting fs.FileMode = 0o066
)

var errNotRegular = errors.New("it is not a regular file")

// Read returns the text of a file that [Open] opens and that has at most so many bytes.
func Read(kind, path string, refused fs.FileMode, most int) ([]byte, error) {
	f, err := Open(kind, path, refused)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(data) > most {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is longer than %d bytes", most)}
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

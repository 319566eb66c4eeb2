// Package trustedfile opens files that only root and this user can change.
//
// A program that takes its permissions from a file must know who wrote the file. Like
// sshd for a user's keys, Open checks every directory and every link on the way: a user
// who can write to one of them can replace the file.
package trustedfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// The permissions of group and others that [Open] can refuse.
const (
	Writing           fs.FileMode = 0o022
	ReadingAndWriting fs.FileMode = 0o066
)

var errNotRegular = errors.New("it is not a regular file")

// Read returns the text of a file that [Open] opens, if it has at most most bytes.
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

// Package trustedfile opens files that only root and this user can change.
//
// A program that is told by a file what it may do has to know who wrote it. As
// sshd does for a user's keys, Open looks at every directory and every link on
// the way: whoever can write to one of them can put another file in place.
package trustedfile

import (
	"errors"
	"io/fs"
)

// The permissions that [Open] can be told to refuse to group and others.
const (
	Writing           fs.FileMode = 0o022
	ReadingAndWriting fs.FileMode = 0o066
)

var errNotRegular = errors.New("it is not a regular file")

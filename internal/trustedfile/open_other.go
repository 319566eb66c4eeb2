//go:build !unix

package trustedfile

import (
	"io/fs"
	"os"
)

// CheckDir checks nothing on this system.
func CheckDir(_, path string) error {
	_, err := os.Stat(path)
	return err
}

// Open opens the file. On this system a file's mode does not show its permissions, so
// it does not check them.
func Open(_, path string, _ fs.FileMode) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	return f, nil
}

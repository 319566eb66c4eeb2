// Package place holds files and directories of this machine or of an image in such a way
// that another user cannot lead their use elsewhere by a symbolic link.
package place

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// Errors of uses of a place.
var (
	ErrChanged  = errors.New("another program changed it")
	ErrReadOnly = errors.New("it is read-only")
	ErrForeign  = errors.New("it belongs to another user")
	ErrDangling = errors.New("it is a symbolic link to a file that does not exist")
)

const maxFile = 8 << 20 // the largest configuration file that is read, in bytes

// A Place is a file or directory below a directory that is held open. Its name contains
// no symbolic link. Each use walks to it from the open directory and follows no link,
// so that a link that appears after the plan was made has no effect.
type Place struct {
	Root  *os.Root
	Name  string // below root, with slashes; "." is root itself
	Shown string // the path for people
}

// Path returns the absolute path.
func (p Place) Path() string { return filepath.Join(p.Root.Name(), p.Name) }

// Child returns the place with a name in the directory p.
func (p Place) Child(name string) Place {
	return Place{Root: p.Root, Name: path.Join(p.Name, name), Shown: filepath.Join(p.Shown, name)}
}

// Parent returns the directory that contains p.
func (p Place) Parent() Place {
	return Place{Root: p.Root, Name: path.Dir(p.Name), Shown: filepath.Dir(p.Shown)}
}

// In calls f with the directory that contains p, and p's name in it.
func (p Place) In(f func(dir *os.Root, name string) error) error {
	dir, err := OpenDir(p.Root, path.Dir(p.Name))
	if err != nil {
		return err
	}
	return errors.Join(f(dir, path.Base(p.Name)), dir.Close())
}

// OpenDir opens a directory below root. It follows no link on the way.
func OpenDir(root *os.Root, name string) (*os.Root, error) {
	dir, err := root.OpenRoot(".")
	if name == "." {
		return dir, err
	}
	for part := range strings.SplitSeq(name, "/") {
		if err != nil {
			return nil, err
		}
		var next *os.Root
		next, err = openStep(dir, part)
		dir.Close()
		dir = next
	}
	return dir, err
}

// openStep opens a directory in dir. It checks that it opened the directory that it
// inspected before: another user may put a link in its place in between.
func openStep(dir *os.Root, name string) (*os.Root, error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: notDirectory(info)}
	}
	next, err := dir.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := next.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = ErrChanged
	}
	if err != nil {
		next.Close()
		return nil, err
	}
	return next, nil
}

func notDirectory(info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink != 0 {
		return ErrChanged // the plan contains no links
	}
	return errors.New("it is not a directory")
}

// Stat returns the information of the file itself, also if it is a link.
func (p Place) Stat() (info fs.FileInfo, err error) {
	err = p.In(func(dir *os.Root, name string) error { info, err = dir.Lstat(name); return err })
	return info, err
}

// IsTrusted reports whether the file belongs to root or to the current user.
func (p Place) IsTrusted() bool {
	info, err := p.Stat()
	return err == nil && isTrusted(info)
}

// open opens a regular file. It does not wait if a pipe takes its place meanwhile.
func open(dir *os.Root, name string, flag int) (*os.File, error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := dir.OpenFile(name, flag|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = ErrChanged
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Read returns a regular file's content. A missing file is not an error: exists is then
// false.
func (p Place) Read() (content []byte, exists bool, err error) {
	err = p.In(func(dir *os.Root, name string) error {
		f, err := open(dir, name, os.O_RDONLY)
		if err != nil {
			return err
		}
		defer f.Close()
		content, err = io.ReadAll(io.LimitReader(f, maxFile+1))
		if len(content) > maxFile {
			return fmt.Errorf("it is longer than %d bytes", maxFile)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return content, err == nil, err
}

// Names lists a directory; an absent one is empty.
func (p Place) Names() (names []string, err error) {
	dir, err := OpenDir(p.Root, p.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := fs.ReadDir(dir.FS(), ".")
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Base returns the last part of the name.
func (p Place) Base() string { return p.Name[strings.LastIndexByte(p.Name, '/')+1:] }

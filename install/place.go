package install

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
	errChanged  = errors.New("another program changed it")
	errReadOnly = errors.New("it is read-only")
	errForeign  = errors.New("it belongs to another user")
	errDangling = errors.New("it is a symbolic link to a file that does not exist")
)

const maxFile = 8 << 20 // the largest configuration file that is read, in bytes

// A place is a file or directory below a directory that is held open. Its name contains
// no symbolic link. Each use walks to it from the open directory and follows no link,
// so that a link that appears after the plan was made has no effect.
type place struct {
	root  *os.Root
	name  string // below root, with slashes; "." is root itself
	shown string // the path for people
}

func (p place) path() string { return filepath.Join(p.root.Name(), p.name) }

func (p place) child(name string) place {
	return place{root: p.root, name: path.Join(p.name, name), shown: filepath.Join(p.shown, name)}
}

func (p place) parent() place {
	return place{root: p.root, name: path.Dir(p.name), shown: filepath.Dir(p.shown)}
}

// in calls f with the directory that contains p, and p's name in it.
func (p place) in(f func(dir *os.Root, name string) error) error {
	dir, err := openDir(p.root, path.Dir(p.name))
	if err != nil {
		return err
	}
	return errors.Join(f(dir, path.Base(p.name)), dir.Close())
}

// openDir opens a directory below root. It follows no link on the way.
func openDir(root *os.Root, name string) (*os.Root, error) {
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
		err = errChanged
	}
	if err != nil {
		next.Close()
		return nil, err
	}
	return next, nil
}

func notDirectory(info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink != 0 {
		return errChanged // the plan contains no links
	}
	return errors.New("it is not a directory")
}

func (p place) stat() (info fs.FileInfo, err error) {
	err = p.in(func(dir *os.Root, name string) error { info, err = dir.Lstat(name); return err })
	return info, err
}

// isTrusted reports whether the file belongs to root or to the current user.
func (p place) isTrusted() bool {
	info, err := p.stat()
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
		err = errChanged
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// read returns a regular file's content. A missing file is not an error: exists is then
// false.
func (p place) read() (content []byte, exists bool, err error) {
	err = p.in(func(dir *os.Root, name string) error {
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

// names lists a directory; an absent one is empty.
func (p place) names() (names []string, err error) {
	dir, err := openDir(p.root, p.name)
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

func (p place) base() string { return p.name[strings.LastIndexByte(p.name, '/')+1:] }

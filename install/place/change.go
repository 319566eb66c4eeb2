package place

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"time"
)

// MakeDirs makes a directory and its parents. All users may enter them, whatever the
// umask, because other users' gits read the files. It calls onUndo with what removes
// each directory again.
func (p Place) MakeDirs(onUndo func(func())) error {
	at := Place{Root: p.Root, Name: "."}
	dir, err := OpenDir(at.Root, at.Name)
	for _, part := range Parts(p.Name) {
		if err != nil {
			return err
		}
		at = at.Child(part)
		next, stepErr := openStep(dir, part)
		if errors.Is(stepErr, fs.ErrNotExist) {
			next, stepErr = at.makeDir(dir, onUndo)
		}
		dir.Close()
		dir, err = next, stepErr
	}
	if err != nil {
		return err
	}
	return dir.Close()
}

func (p Place) makeDir(parent *os.Root, onUndo func(func())) (*os.Root, error) {
	name := path.Base(p.Name)
	if err := parent.Mkdir(name, 0o755); err != nil {
		return nil, err
	}
	onUndo(p.RemoveIfEmpty)
	dir, err := openStep(parent, name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(dir.Chmod(".", 0o755), ChownToRoot(func(uid, gid int) error { return dir.Chown(".", uid, gid) })); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// RemoveIfEmpty removes a directory if it is empty.
func (p Place) RemoveIfEmpty() {
	_ = p.In(func(dir *os.Root, name string) error {
		if info, err := dir.Lstat(name); err != nil || !info.IsDir() {
			return err
		}
		return dir.Remove(name)
	})
}

// SetTime sets the time of a directory, regular file or symbolic link.
func (p Place) SetTime(when time.Time) {
	if when.IsZero() {
		return
	}
	if dir, err := OpenDir(p.Root, p.Name); err == nil {
		_ = dir.Chtimes(".", when, when)
		dir.Close()
		return
	}
	_ = p.In(func(dir *os.Root, name string) error {
		info, err := dir.Lstat(name)
		switch {
		case err != nil:
			return err
		case info.Mode().Type() == fs.ModeSymlink:
			return setLinkTime(dir, name, when)
		case info.Mode().IsRegular():
			return dir.Chtimes(name, when, when)
		}
		return nil
	})
}

// KeepOwner gives the new file the owner of the old one and returns its mode. It
// refuses a read-only file, which a rename would replace against its owner's intention.
func KeepOwner(dir *os.Root, name string, lock *os.File) (fs.FileMode, error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return 0, err
	}
	if info.Mode().Perm()&0o200 == 0 {
		return 0, ErrReadOnly
	}
	old, err := open(dir, name, os.O_WRONLY)
	if err != nil {
		return 0, err
	}
	if err := old.Close(); err != nil {
		return 0, err
	}
	return info.Mode().Perm(), copyOwner(info, lock)
}

// ChownToRoot gives a new file to root and its group. Otherwise the group could be that of
// the directory.
func ChownToRoot(chown func(uid, gid int) error) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return chown(0, 0)
}

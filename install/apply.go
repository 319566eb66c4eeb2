package install

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/gatepass/gatepass/internal/oneline"
)

// Apply does what the plan says, or nothing: the new files are written beside
// the old ones under git's own locks, then the shims, and only then the files
// change places, and directories of ours that are empty go. When a step fails,
// the ones before it are undone. A file that changed since the plan was made is
// left alone and reported.
func (p *Plan) Apply() (err error) {
	var u undoing
	defer func() {
		if err != nil {
			u.all()
		}
	}()
	for _, f := range p.Files {
		if err := f.prepare(&u); err != nil {
			return oneline.Wrap("change "+f.Path, plain(err), advice(err))
		}
	}
	for _, s := range p.Hooks {
		if err := s.write(&u); err != nil {
			return oneline.Wrap("write the shims in "+s.place.shown, plain(err), advice(err))
		}
	}
	for _, f := range p.Files {
		if err := f.commit(); err != nil {
			return oneline.Wrap("change "+f.Path, plain(err), "")
		}
	}
	for _, s := range p.Hooks {
		if err := s.clear(); err != nil {
			return oneline.Wrap("remove the shims in "+s.place.shown, plain(err), "run the command again")
		}
	}
	for _, dir := range p.directories {
		dir.removeIfEmpty()
	}
	return nil
}

// undoing is a stack of steps back. They are best effort: the error that called
// for them is the one to report.
type undoing []func()

func (u *undoing) add(step func()) { *u = append(*u, step) }

func (u *undoing) all() {
	for _, step := range slices.Backward(*u) {
		step()
	}
}

var (
	errLocked   = errors.New("it is locked by another program")
	errChanged  = errors.New("it changed in the meantime")
	errReadOnly = errors.New("it is read-only")
	errForeign  = errors.New("it belongs to another user")
)

// advice says what to do about an error of Apply.
func advice(err error) string {
	switch {
	case errors.Is(err, errLocked):
		return "try again, and if no git is running remove its .lock file"
	case errors.Is(err, errChanged):
		return "run the command again"
	case errors.Is(err, errReadOnly):
		return "make it writable or choose another scope"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errForeign):
		return "run as the file's owner or choose another scope"
	}
	return ""
}

func (f FileChange) lock() string { return f.place.name + ".lock" }

// prepare writes the new content into git's lock file, with the mode and owner
// of the old one.
func (f FileChange) prepare(u *undoing) error {
	return f.place.with(func(r *os.Root) error {
		if err := makeDirs(r, path.Dir(f.place.name), u); err != nil {
			return err
		}
		lock, err := r.OpenFile(f.lock(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return errLocked
		}
		if err != nil {
			return err
		}
		u.add(func() { _ = f.place.with(func(r *os.Root) error { return r.Remove(f.lock()) }) })
		return errors.Join(f.fill(r, lock), lock.Close())
	})
}

func (f FileChange) fill(r *os.Root, lock *os.File) error {
	now, found, err := f.place.read()
	if err != nil {
		return err
	}
	if found == (f.Change == create) || !bytes.Equal(now, f.old) {
		return errChanged
	}
	mode := fs.FileMode(0o644)
	if found {
		if mode, err = keepOwner(r, f.place.name, lock); err != nil {
			return err
		}
	}
	if _, err := lock.Write(f.new); err != nil {
		return err
	}
	if err := lock.Chmod(mode); err != nil {
		return err
	}
	return lock.Sync()
}

// keepOwner gives the new file the owner of the old one and returns its mode.
// Renaming would get around a read-only file; whoever made it so meant it.
func keepOwner(r *os.Root, name string, lock *os.File) (fs.FileMode, error) {
	info, err := r.Stat(name)
	if err != nil {
		return 0, err
	}
	if info.Mode().Perm()&0o200 == 0 {
		return 0, errReadOnly
	}
	old, err := r.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	if err := old.Close(); err != nil {
		return 0, err
	}
	return info.Mode().Perm(), copyOwner(info, lock)
}

func (f FileChange) commit() error {
	return f.place.with(func(r *os.Root) error {
		if f.Change != remove {
			return r.Rename(f.lock(), f.place.name)
		}
		return errors.Join(r.Remove(f.place.name), r.Remove(f.lock()))
	})
}

// write creates and replaces shims.
func (s Shims) write(u *undoing) error {
	if len(s.Create)+len(s.Replace) == 0 {
		return nil
	}
	return s.place.with(func(r *os.Root) error {
		if err := makeDirs(r, s.place.name, u); err != nil {
			return err
		}
		for _, name := range slices.Concat(s.Create, s.Replace) {
			file := s.place.child(name)
			old, existed, err := file.read()
			if err != nil {
				return err
			}
			u.add(func() { file.restore(old, existed) })
			if err := writeProgram(r, file.name, s.want[name]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p place) restore(old []byte, existed bool) {
	_ = p.with(func(r *os.Root) error {
		if existed {
			return writeProgram(r, p.name, string(old))
		}
		return r.Remove(p.name)
	})
}

// writeProgram replaces a file in one step, executable for all whatever the
// umask.
func writeProgram(r *os.Root, name, text string) error {
	temp := path.Join(path.Dir(name), "."+path.Base(name)+".gatepass")
	if err := r.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := r.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o755), f.Close()); err == nil {
		err = r.Rename(temp, name)
	}
	if err != nil {
		_ = r.Remove(temp)
	}
	return err
}

// makeDirs makes a directory and its parents, open to all to look into
// whatever the umask: other users' gits go through them.
func makeDirs(r *os.Root, name string, u *undoing) error {
	if name == "." {
		return nil
	}
	if info, err := r.Stat(name); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: name, Err: errors.New("it is not a directory")}
		}
		return nil
	}
	if err := makeDirs(r, path.Dir(name), u); err != nil {
		return err
	}
	if err := r.Mkdir(name, 0o755); err != nil {
		return err
	}
	base := r.Name()
	u.add(func() { _ = place{base: base}.with(func(r *os.Root) error { return r.Remove(name) }) })
	return r.Chmod(name, 0o755)
}

// clear removes shims.
func (s Shims) clear() error {
	return s.place.with(func(r *os.Root) error {
		for _, name := range s.Remove {
			if err := r.Remove(path.Join(s.place.name, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

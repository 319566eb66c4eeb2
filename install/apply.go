package install

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/install/place"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Apply executes the plan, or nothing of it. It writes the new files beside the old
// ones under git's own locks, then the shims and whole files. Only then does it replace
// the files, and remove our directories that are empty. If a step fails, it undoes the
// earlier ones. A file that changed since the plan was made stays as it is and is
// reported.
func (p *Plan) Apply() (err error) {
	var u rollback
	times := p.noteTimes()
	defer func() {
		if err != nil {
			u.run()
		}
		times.restore(p, err == nil)
	}()
	for _, c := range p.Copies {
		if err := c.prepare(p.stamp, &u); err != nil {
			return usererr.Wrap("write "+c.Path, withoutPath(err), hintFor(err))
		}
	}
	for _, f := range p.Files {
		if err := f.prepare(&u); err != nil {
			return usererr.Wrap("change "+f.Path, withoutPath(err), hintFor(err))
		}
	}
	for _, s := range p.Hooks {
		if err := s.write(&u); err != nil {
			return usererr.Wrap("write the shims in "+s.place.Shown, withoutPath(err), hintFor(err))
		}
	}
	if err := p.commitCopies(false); err != nil {
		return err
	}
	for _, f := range p.Files {
		if err := f.commit(); err != nil {
			return usererr.Wrap("change "+f.Path, withoutPath(err), "")
		}
	}
	for _, s := range p.Hooks {
		if err := s.clear(); err != nil {
			return usererr.Wrap("remove the shims in "+s.place.Shown, withoutPath(err), "run the command again")
		}
	}
	if err := p.commitCopies(true); err != nil {
		return err
	}
	p.removeDirectories()
	return nil
}

// commitCopies moves the prepared files to their places, or removes files: git's
// configuration names the programs, so they are installed first and removed last.
func (p *Plan) commitCopies(removals bool) error {
	for _, c := range p.Copies {
		if (c.Change == remove) != removals {
			continue
		}
		if err := c.commit(); err != nil && !(removals && errors.Is(err, fs.ErrNotExist)) {
			return usererr.Wrap(c.Change+" "+c.Path, withoutPath(err), hintFor(err))
		}
	}
	return nil
}

// removeDirectories removes the empty directories, the innermost first, and adds a note
// for those of the receipt that are not empty.
func (p *Plan) removeDirectories() {
	slices.SortFunc(p.directories, func(a, b place.Place) int {
		return cmp.Or(len(b.Path())-len(a.Path()), strings.Compare(a.Path(), b.Path()))
	})
	p.directories = slices.CompactFunc(p.directories, func(a, b place.Place) bool { return a.Path() == b.Path() })
	for _, dir := range p.directories {
		dir.RemoveIfEmpty()
		if _, err := dir.Stat(); err == nil && slices.Contains(p.noted, dir.Path()) {
			p.Notes = append(p.Notes, dir.Shown+" is kept: it has files of others")
		}
	}
}

// rollback is a stack of steps that undo a change. Their errors are ignored: the error
// that made them necessary is reported.
type rollback []func()

func (u *rollback) add(step func()) { *u = append(*u, step) }

func (u *rollback) run() {
	for _, step := range slices.Backward(*u) {
		step()
	}
}

var errLocked = errors.New("it is locked by another program")

// hintFor returns what to do about an error of Apply.
func hintFor(err error) string {
	if _, foreign := errors.AsType[*place.ForeignLinkError](err); foreign {
		return "run the command as that user, or replace the link by its target"
	}
	switch {
	case errors.Is(err, errLocked):
		return "try again, and if no git is running remove its .lock file"
	case errors.Is(err, place.ErrChanged):
		return "run the command again"
	case errors.Is(err, place.ErrDangling):
		return "create that file or remove the link"
	case errors.Is(err, place.ErrReadOnly):
		return "make it writable or choose another scope"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, place.ErrForeign):
		return "run as the file's owner or choose another scope"
	}
	return ""
}

const lockSuffix = ".lock"

// prepare writes the new content to git's lock file, with the mode and owner of the old
// file.
func (f FileChange) prepare(u *rollback) error {
	if err := f.place.Parent().MakeDirs(u.add); err != nil {
		return err
	}
	return f.place.In(func(dir *os.Root, name string) error {
		lock, err := dir.OpenFile(name+lockSuffix, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return errLocked
		}
		if err != nil {
			return err
		}
		u.add(func() {
			_ = f.place.In(func(dir *os.Root, name string) error { return dir.Remove(name + lockSuffix) })
		})
		return errors.Join(f.fill(dir, name, lock), lock.Close())
	})
}

func (f FileChange) fill(dir *os.Root, name string, lock *os.File) error {
	now, found, err := f.place.Read()
	if err != nil {
		return err
	}
	if found == (f.Change == create) || !bytes.Equal(now, f.old) {
		return place.ErrChanged
	}
	mode := fs.FileMode(0o644)
	if found {
		if mode, err = place.KeepOwner(dir, name, lock); err != nil {
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

func (f FileChange) commit() error {
	return f.place.In(func(dir *os.Root, name string) error {
		if f.Change != remove {
			return dir.Rename(name+lockSuffix, name)
		}
		return errors.Join(dir.Remove(name), dir.Remove(name+lockSuffix))
	})
}

// write creates and replaces shims.
func (s Shims) write(u *rollback) error {
	if len(s.Create)+len(s.Replace) == 0 {
		return nil
	}
	if err := s.place.MakeDirs(u.add); err != nil {
		return err
	}
	for _, name := range slices.Concat(s.Create, s.Replace) {
		file := s.place.Child(name)
		old, existed, err := readProgram(file)
		if err != nil {
			return err
		}
		u.add(func() { restoreProgram(file, old, existed) })
		if err := writeProgram(file, s.want[name]); err != nil {
			return err
		}
	}
	return nil
}

func restoreProgram(at place.Place, old program, existed bool) {
	if existed {
		_ = writeProgram(at, old)
		return
	}
	_ = at.In(func(dir *os.Root, name string) error { return dir.Remove(name) })
}

// writeProgram replaces a file atomically. The file is executable for all users,
// whatever the umask.
func writeProgram(at place.Place, is program) error {
	return at.In(func(dir *os.Root, name string) error {
		temp := "." + name + ".gatepass"
		if err := dir.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err := is.write(dir, temp)
		if err == nil {
			err = dir.Rename(temp, name)
		}
		if err != nil {
			_ = dir.Remove(temp)
		}
		return err
	})
}

func (p program) write(r *os.Root, name string) error {
	if p.link != "" {
		return r.Symlink(p.link, name)
	}
	f, err := r.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = f.WriteString(p.text)
	return errors.Join(err, f.Chmod(0o755), f.Close())
}

// clear removes shims.
func (s Shims) clear() error {
	for _, name := range s.Remove {
		err := s.place.Child(name).In(func(dir *os.Root, name string) error { return dir.Remove(name) })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// A Copy is the change of a file that is wholly ours.
type Copy struct {
	Path   string `json:"path"`
	Change string `json:"change"` // create, replace or remove

	place  place.Place
	inside string // as git sees it
	mode   fs.FileMode
	time   time.Time // zero means the plan's stamp
	text   []byte
	source string // the file to copy; empty means text
}

func (c Copy) temp() string { return "." + c.place.Base() + ".gatepass" }

// prepare writes the file beside its destination.
func (c Copy) prepare(stamp time.Time, u *rollback) error {
	if c.Change == remove {
		return nil
	}
	if err := c.place.Parent().MakeDirs(u.add); err != nil {
		return err
	}
	if !c.time.IsZero() {
		stamp = c.time
	}
	return c.place.In(func(dir *os.Root, _ string) error {
		if err := dir.Remove(c.temp()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f, err := dir.OpenFile(c.temp(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		u.add(func() {
			_ = c.place.In(func(dir *os.Root, _ string) error { return dir.Remove(c.temp()) })
		})
		return errors.Join(c.fill(f), f.Chmod(c.mode), place.ChownToRoot(f.Chown), f.Close(), dir.Chtimes(c.temp(), stamp, stamp))
	})
}

func (c Copy) fill(to *os.File) error {
	if c.source == "" {
		_, err := to.Write(c.text)
		return err
	}
	from, err := os.Open(c.source)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, from.Close())
}

func (c Copy) commit() error {
	return c.place.In(func(dir *os.Root, name string) error {
		if c.Change != remove {
			return dir.Rename(c.temp(), name)
		}
		info, err := dir.Lstat(name)
		if err == nil && !info.Mode().IsRegular() {
			return place.ErrChanged
		}
		return errors.Join(err, dir.Remove(name))
	})
}

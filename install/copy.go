package install

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// A Copy is the change of a file that is wholly ours.
type Copy struct {
	Path   string `json:"path"`
	Change string `json:"change"` // create, replace or remove

	place  place
	seen   string // as git sees it
	mode   fs.FileMode
	time   time.Time // zero means the plan's stamp
	text   []byte
	source string // the file to copy; empty means text
}

func (c Copy) temp() string { return "." + c.place.base() + ".gatepass" }

// prepare writes the file beside its destination.
func (c Copy) prepare(stamp time.Time, u *undoing) error {
	if c.Change == remove {
		return nil
	}
	if err := c.place.parent().makeDirs(u); err != nil {
		return err
	}
	if !c.time.IsZero() {
		stamp = c.time
	}
	return c.place.in(func(dir *os.Root, _ string) error {
		if err := dir.Remove(c.temp()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f, err := dir.OpenFile(c.temp(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		u.add(func() {
			_ = c.place.in(func(dir *os.Root, _ string) error { return dir.Remove(c.temp()) })
		})
		return errors.Join(c.fill(f), f.Chmod(c.mode), rootOwns(f.Chown), f.Close(), dir.Chtimes(c.temp(), stamp, stamp))
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

// rootOwns gives a new file to root and its group. Otherwise the group could be that of
// the directory.
func rootOwns(chown func(uid, gid int) error) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return chown(0, 0)
}

func (c Copy) commit() error {
	return c.place.in(func(dir *os.Root, name string) error {
		if c.Change != remove {
			return dir.Rename(c.temp(), name)
		}
		info, err := dir.Lstat(name)
		if err == nil && !info.Mode().IsRegular() {
			return errChanged
		}
		return errors.Join(err, dir.Remove(name))
	})
}

func (p place) base() string { return p.name[strings.LastIndexByte(p.name, '/')+1:] }

package filestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

const (
	folderMode = 0o700
	fileMode   = 0o600

	// The dots in the two names keep them apart from every name in a store.
	lockFile      = ".lock"
	scratchFolder = ".tmp" // for unfinished writes; files that remain there were interrupted
)

// A Store is a folder in which every entry is a file with the entry's name. It is for
// one machine: for development, and for a broker with its own disk.
type Store struct{ dir string }

// OpenStore reads a URL file:///dir. The first Put makes the folder.
func OpenStore(u *url.URL) (*Store, error) {
	const form = "write file:///dir, with three slashes"
	switch {
	case u.Scheme != "file":
		return nil, usererr.New("store", "its scheme is not file", "")
	case u.Host != "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, usererr.New("store "+u.Redacted(), "a file store must have only an absolute path on this machine", form)
	case path.Clean(u.Path) == "/" || u.Path == "":
		return nil, usererr.New("store file://"+u.Path, "it names no directory", form)
	}
	return &Store{dir: path.Clean(u.Path)}, nil
}

// Get implements [store.Store]. It refuses a file that group or others can access.
func (s *Store) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	what := "read " + s.dir + "/" + name.String()
	root, err := s.open(ctx, what, name.IsZero())
	if errors.Is(err, fs.ErrNotExist) {
		return store.Entry{}, &usererr.Error{Op: what, Err: store.ErrNotFound}
	}
	if err != nil {
		return store.Entry{}, err
	}
	defer root.Close()
	entry, err := readEntry(root, name)
	if damage, ok := errors.AsType[damaged](err); ok {
		return store.Entry{}, &usererr.Error{Op: what, Reason: string(damage), Err: store.ErrDamaged}
	}
	if err != nil {
		return store.Entry{}, describe(what, err)
	}
	return entry, nil
}

// damaged says what is wrong with a file that Put cannot have written.
type damaged string

func (d damaged) Error() string { return string(d) }

func readEntry(root *os.Root, name store.Name) (store.Entry, error) {
	// A link, even one within the folder, would make another entry out of this one.
	if info, err := root.Lstat(name.String()); err != nil {
		return store.Entry{}, err
	} else if info.IsDir() {
		return store.Entry{}, fs.ErrNotExist
	} else if !info.Mode().IsRegular() {
		return store.Entry{}, damaged("it is not a regular file")
	} else if info.Size() == 0 {
		return store.Entry{}, damaged("the file is empty") // whatever its mode, and whichever program made it
	}
	f, err := root.Open(name.String())
	if err != nil {
		return store.Entry{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return store.Entry{}, err
	}
	if err := private(info); err != nil {
		return store.Entry{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, store.MaxValue+1))
	if err != nil {
		return store.Entry{}, err
	}
	value := store.NewSecret(string(data))
	if err := value.Check(); err != nil {
		return store.Entry{}, damaged(err.Error())
	}
	return store.Entry{Value: value, Modified: info.ModTime(), Version: version(info.ModTime(), value)}, nil
}

// private returns an error if other users can access a file or folder.
func private(info fs.FileInfo) error {
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("other users can use it (mode %04o); run chmod go= on it", info.Mode().Perm())
	}
	if !ownedByUs(info) {
		return errors.New("it belongs to another user")
	}
	return nil
}

// Put implements [store.Store]. When it returns, the value is on the disk.
func (s *Store) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	what := "write " + s.dir + "/" + name.String()
	if err := value.Check(); err != nil {
		return usererr.Wrap(what, err, "")
	}
	if err := ctx.Err(); err != nil {
		return usererr.Wrap(what, err, "")
	}
	if err := os.MkdirAll(s.dir, folderMode); err != nil {
		return describe(what, err)
	}
	return s.locked(ctx, what, name, func(root *os.Root) error { return writeEntry(root, name, value, mode) })
}

// writeEntry writes a value under a name. The caller holds the folder's lock.
func writeEntry(root *os.Root, name store.Name, value store.Secret, mode store.Mode) error {
	if err := root.MkdirAll(path.Dir(name.String()), folderMode); err != nil {
		return err
	}
	scratch, err := writeScratch(root, value)
	if err != nil {
		return err
	}
	if err := date(root, scratch, name); err != nil {
		return err
	}
	return place(root, scratch, name, mode)
}

// writeScratch writes a file that no reader opens.
func writeScratch(root *os.Root, value store.Secret) (name string, err error) {
	if err := root.MkdirAll(scratchFolder, folderMode); err != nil {
		return "", err
	}
	name = scratchFolder + "/" + rand.Text()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(value.Reveal())
	return name, errors.Join(err, f.Sync(), f.Close())
}

// place gives a written file its name in one step.
func place(root *os.Root, scratch string, name store.Name, mode store.Mode) error {
	if mode == store.Replace {
		if err := root.Rename(scratch, name.String()); err != nil {
			return err
		}
	} else {
		// Unlike a rename, a link refuses to replace a file.
		if err := root.Link(scratch, name.String()); err != nil {
			return err
		}
		if err := root.Remove(scratch); err != nil {
			return err
		}
	}
	return syncFolder(root, path.Dir(name.String()))
}

func syncFolder(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Delete implements [store.Store]. It also removes folders that become empty.
func (s *Store) Delete(ctx context.Context, name store.Name) error {
	what := "delete " + s.dir + "/" + name.String()
	err := s.locked(ctx, what, name, func(root *os.Root) error {
		if info, err := root.Lstat(name.String()); err != nil || info.IsDir() {
			return err
		}
		if err := root.Remove(name.String()); err != nil {
			return err
		}
		folder := path.Dir(name.String())
		for ; folder != "." && root.Remove(folder) == nil; folder = path.Dir(folder) {
			continue
		}
		return syncFolder(root, folder)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		what := "list " + s.dir + "/" + below.String()
		root, err := s.open(ctx, what, false)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(store.Name{}, err)
			return
		}
		defer root.Close()
		from := below.String()
		if from == "" {
			from = "."
		}
		if info, err := root.Lstat(from); err == nil && !info.IsDir() {
			yield(store.Name{}, describe(what, errNoFolder)) // a missing folder is not an empty block list
			return
		}
		err = fs.WalkDir(root.FS(), from, func(p string, d fs.DirEntry, err error) error {
			return visit(ctx, p, d, err, yield)
		})
		if err != nil {
			yield(store.Name{}, describe(what, err))
		}
	}
}

var errNoFolder = errors.New("it is not a directory")

// visit yields the name of a file. It skips files that are removed during the listing.
func visit(ctx context.Context, p string, d fs.DirEntry, err error, yield func(store.Name, error) bool) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case d.IsDir() && p != "." && strings.HasPrefix(d.Name(), "."):
		return fs.SkipDir
	case !d.Type().IsRegular():
		return nil
	}
	name, err := store.ParseName(p)
	if err != nil {
		return nil
	}
	if !yield(name, nil) {
		return fs.SkipAll
	}
	return nil
}

// open opens the folder, unless other users can access it. For a missing folder, the
// error wraps fs.ErrNotExist.
func (s *Store) open(ctx context.Context, what string, nameless bool) (*os.Root, error) {
	if nameless {
		return nil, usererr.New(what, "it has no name", "")
	}
	if err := ctx.Err(); err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	root, err := os.OpenRoot(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, describe(what, err)
	}
	info, err := root.Stat(".")
	if err == nil {
		err = private(info)
	}
	if err != nil {
		root.Close()
		return nil, usererr.Wrap(what, fmt.Errorf("directory %s: %w", s.dir, err), "")
	}
	return root, nil
}

// locked runs change while no other process changes the folder. It first removes what
// an interrupted Put has left, which may hold a token.
func (s *Store) locked(ctx context.Context, what string, name store.Name, change func(*os.Root) error) error {
	root, err := s.open(ctx, what, name.IsZero())
	if errors.Is(err, fs.ErrNotExist) {
		return &usererr.Error{Op: what, Err: store.ErrNotFound}
	}
	if err != nil {
		return err
	}
	defer root.Close()
	unlock, err := lock(ctx, root)
	if errors.Is(err, errLocked) {
		return usererr.Wrap(what, err, "check whether another gatepass hangs")
	}
	if errors.Is(err, errNoLocks) {
		return usererr.Wrap(what, err, "move the store to another file system")
	}
	if err != nil {
		return describe(what, err)
	}
	defer unlock()
	if err := root.RemoveAll(scratchFolder); err != nil {
		return describe(what, err)
	}
	if err := change(root); err != nil {
		return describe(what, err)
	}
	return nil
}

// errLocked reports that another process held the lock the whole time.
var errLocked = errors.New("another process keeps it locked")

// errNoLocks reports a file system without flock(2), such as some NFS, 9p and gVisor.
var errNoLocks = errors.New("its file system has no locks")

// describe turns a file system's error, possibly one of several, into one line.
func describe(what string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &usererr.Error{Op: what, Err: store.ErrNotFound}
	case errors.Is(err, fs.ErrExist):
		return &usererr.Error{Op: what, Err: store.ErrExists}
	case errors.Is(err, fs.ErrPermission):
		return &usererr.Error{Op: what, Reason: "permission denied for this user", Hint: "use a directory of this user", Err: err}
	}
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		err = pathErr.Err // the path is named already
	}
	return usererr.Wrap(what, err, "")
}

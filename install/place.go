package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/internal/filestamp"
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

// inside turns an absolute path in an image into a name below its root.
func inside(inner string) string {
	if name := strings.TrimLeft(path.Clean("/"+filepath.ToSlash(inner)), "/"); name != "" {
		return name
	}
	return "."
}

// maxLinks is the largest number of symbolic links in one path, as in Linux.
const maxLinks = 40

// A lookup turns a path into a [place]. It follows the links that exist when the plan
// is made. A link must belong to root or to the current user: with a link, another user
// could make root write and delete anywhere.
type lookup struct {
	links   int
	anyLink bool // for inspection only: follow the links of every user
	own     int  // how many names at the end of the path are from the caller and not from a link
}

var errDangling = errors.New("it is a symbolic link to a file that does not exist")

// hostPlace resolves an absolute path of this machine. The end of the path need not
// exist.
func hostPlace(shown string) (place, error) {
	l, at := lookup{own: len(names(shown))}, filepath.ToSlash(shown)
	for {
		dir, rest := trustedPart(at)
		root, err := os.OpenRoot(dir)
		if err != nil {
			return place{}, err
		}
		name, next, err := l.follow(root, rest)
		if err != nil {
			return place{}, errors.Join(err, root.Close())
		}
		if next == "" {
			return place{root: root, name: name, shown: shown}, nil
		}
		if at = next; !path.IsAbs(at) {
			at = filepath.ToSlash(dir) + "/" + at // not cleaned: ".." is relative to the target of a link
		}
		root.Close()
	}
}

// imagePlace resolves a path as seen from inside the image. It follows links as the
// image would, so that no path leaves the image.
func imagePlace(root *os.Root, inner string) (place, error) {
	return imageLookup(root, inner, lookup{})
}

func imageLookup(root *os.Root, inner string, l lookup) (place, error) {
	at := inside(inner)
	l.own = len(names(at))
	for {
		name, next, err := l.follow(root, at)
		if err != nil || next == "" {
			return place{root: root, name: name, shown: filepath.Join(root.Name(), inner)}, err
		}
		at = next
		if parts := names(at); len(parts) > 0 && parts[0] == ".." { // the root is its own parent
			at = strings.Join(parts[1:], "/")
		}
	}
}

// follow walks below root up to the first link, and returns in next the path to go on
// with; a relative one starts at root. If there is no link, next is empty, and name is
// the path without ".." or links, whose end may not exist.
func (l *lookup) follow(root *os.Root, at string) (name, next string, err error) {
	var done []string
	rest := names(at)
	for i, part := range rest {
		if part == ".." && len(done) == 0 {
			return "", strings.Join(rest[i:], "/"), nil
		}
		if part == ".." {
			done = done[:len(done)-1]
			continue
		}
		info, target, err := l.look(place{root: root, name: path.Join(append(done, part)...)})
		left := rest[i+1:]
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(left) >= l.own:
			return "", "", errDangling
		case errors.Is(err, fs.ErrNotExist):
			return path.Join(append(done, rest[i:]...)...), "", nil
		case err != nil:
			return "", "", err
		case target != "":
			l.own = min(l.own, len(left))
			if !path.IsAbs(target) {
				target = strings.Join(append(done, target), "/")
			}
			return "", strings.Join(append([]string{target}, left...), "/"), nil
		case !info.IsDir() && len(left) > 0:
			return "", "", fmt.Errorf("%s is not a directory", filepath.Join(root.Name(), path.Join(done...), part))
		}
		done = append(done, part)
	}
	return path.Join(append(done, ".")...), "", nil
}

// look returns the information of p, and its target if it is a link.
func (l *lookup) look(p place) (info fs.FileInfo, target string, err error) {
	err = p.in(func(dir *os.Root, name string) error {
		if info, err = dir.Lstat(name); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return err
		}
		if l.links++; l.links > maxLinks {
			return errors.New("too many symbolic links")
		}
		if !l.anyLink && !isTrusted(info) {
			return &foreignLink{p.path(), owner(info)}
		}
		if target, err = dir.Readlink(name); err != nil {
			return err
		}
		now, err := dir.Lstat(name)
		if err == nil && filestamp.OfInfo(info) != filestamp.OfInfo(now) {
			err = errChanged
		}
		return err
	})
	return info, target, err
}

// A foreignLink reports a link that lookup does not follow.
type foreignLink struct {
	path string
	user int
}

func (e *foreignLink) Error() string {
	return fmt.Sprintf("%s is a symbolic link of user %d", e.path, e.user)
}

// trustedPart splits a path of this machine into a directory and the rest. Other users
// cannot replace anything on the way to that directory, so it can be opened by its
// name: opening each directory on the way would need permission to list it.
func trustedPart(at string) (dir, rest string) {
	dir = filepath.VolumeName(at) + string(filepath.Separator)
	parts := names(strings.TrimPrefix(at, filepath.VolumeName(at)))
	for len(parts) > 0 {
		next := filepath.Join(dir, parts[0])
		if parts[0] != ".." && (len(parts) == 1 || !trustedStep(dir, next)) {
			break
		}
		dir, parts = next, parts[1:]
	}
	if len(parts) == 0 {
		return filepath.Dir(dir), filepath.Base(dir)
	}
	return dir, strings.Join(parts, "/")
}

// trustedStep reports whether next is a directory in dir that no other user can
// replace.
func trustedStep(dir, next string) bool {
	parent, err := os.Lstat(dir)
	if err != nil || !isTrusted(parent) {
		return false
	}
	child, err := os.Lstat(next)
	if err != nil || !child.IsDir() {
		return false
	}
	return parent.Mode().Perm()&0o022 == 0 || parent.Mode()&fs.ModeSticky != 0 && isTrusted(child)
}

// names splits a path at slashes.
func names(at string) []string {
	return slices.DeleteFunc(strings.Split(filepath.ToSlash(at), "/"), func(s string) bool { return s == "" || s == "." })
}

func (p place) base() string { return p.name[strings.LastIndexByte(p.name, '/')+1:] }

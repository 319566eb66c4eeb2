package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/filestamp"
)

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

// OnHost resolves an absolute path of this machine. The end of the path need not
// exist.
func OnHost(shown string) (Place, error) {
	l, at := lookup{own: len(Parts(shown))}, filepath.ToSlash(shown)
	for {
		dir, rest := trustedPart(at)
		root, err := os.OpenRoot(dir)
		if err != nil {
			return Place{}, err
		}
		name, next, err := l.follow(root, rest)
		if err != nil {
			return Place{}, errors.Join(err, root.Close())
		}
		if next == "" {
			return Place{Root: root, Name: name, Shown: shown}, nil
		}
		if at = next; !path.IsAbs(at) {
			at = filepath.ToSlash(dir) + "/" + at // not cleaned: ".." is relative to the target of a link
		}
		root.Close()
	}
}

// InImage resolves a path as seen from inside the image. It follows links as the
// image would, so that no path leaves the image.
func InImage(root *os.Root, inner string) (Place, error) {
	return lookup{}.inImage(root, inner)
}

// SeenInImage is imagePlace for inspection only: it follows the links of every user.
func SeenInImage(root *os.Root, inner string) (Place, error) {
	return lookup{anyLink: true}.inImage(root, inner)
}

func (l lookup) inImage(root *os.Root, inner string) (Place, error) {
	at := inside(inner)
	l.own = len(Parts(at))
	for {
		name, next, err := l.follow(root, at)
		if err != nil || next == "" {
			return Place{Root: root, Name: name, Shown: filepath.Join(root.Name(), inner)}, err
		}
		at = next
		if left := Parts(at); len(left) > 0 && left[0] == ".." { // the root is its own parent
			at = strings.Join(left[1:], "/")
		}
	}
}

// follow walks below root up to the first link, and returns in next the path to go on
// with; a relative one starts at root. If there is no link, next is empty, and name is
// the path without ".." or links, whose end may not exist.
func (l *lookup) follow(root *os.Root, at string) (name, next string, err error) {
	var done []string
	rest := Parts(at)
	for i, part := range rest {
		if part == ".." && len(done) == 0 {
			return "", strings.Join(rest[i:], "/"), nil
		}
		if part == ".." {
			done = done[:len(done)-1]
			continue
		}
		info, target, err := l.look(Place{Root: root, Name: path.Join(append(done, part)...)})
		left := rest[i+1:]
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(left) >= l.own:
			return "", "", ErrDangling
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
func (l *lookup) look(p Place) (info fs.FileInfo, target string, err error) {
	err = p.In(func(dir *os.Root, name string) error {
		if info, err = dir.Lstat(name); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return err
		}
		if l.links++; l.links > maxLinks {
			return errors.New("too many symbolic links")
		}
		if !l.anyLink && !isTrusted(info) {
			return &ForeignLinkError{p.Path(), owner(info)}
		}
		if target, err = dir.Readlink(name); err != nil {
			return err
		}
		now, err := dir.Lstat(name)
		if err == nil && filestamp.OfInfo(info) != filestamp.OfInfo(now) {
			err = ErrChanged
		}
		return err
	})
	return info, target, err
}

// A ForeignLinkError reports a link that lookup does not follow.
type ForeignLinkError struct {
	path string
	user int
}

func (e *ForeignLinkError) Error() string {
	return fmt.Sprintf("%s is a symbolic link of user %d", e.path, e.user)
}

// trustedPart splits a path of this machine into a directory and the rest. Other users
// cannot replace anything on the way to that directory, so it can be opened by its
// name: opening each directory on the way would need permission to list it.
func trustedPart(at string) (dir, rest string) {
	dir = filepath.VolumeName(at) + string(filepath.Separator)
	left := Parts(strings.TrimPrefix(at, filepath.VolumeName(at)))
	for len(left) > 0 {
		next := filepath.Join(dir, left[0])
		if left[0] != ".." && (len(left) == 1 || !trustedStep(dir, next)) {
			break
		}
		dir, left = next, left[1:]
	}
	if len(left) == 0 {
		return filepath.Dir(dir), filepath.Base(dir)
	}
	return dir, strings.Join(left, "/")
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

// Parts splits a path at slashes.
func Parts(at string) []string {
	return slices.DeleteFunc(strings.Split(filepath.ToSlash(at), "/"), func(s string) bool { return s == "" || s == "." })
}

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
)

const maxFile = 8 << 20 // bytes of a configuration file we are willing to hold

// A place is a file or directory below a directory that is opened as an
// [os.Root], so that no symbolic link leads out of it.
//
// For an image the base is its root. For this machine all links are followed
// while planning, and the base is an existing directory on the way.
type place struct {
	base  string // absolute directory of this machine
	name  string // below base, with slashes
	shown string // what a person knows it by
}

func (p place) path() string { return filepath.Join(p.base, p.name) }

func (p place) child(name string) place {
	return place{base: p.base, name: path.Join(p.name, name), shown: filepath.Join(p.shown, name)}
}

// with opens the base for the time of f.
func (p place) with(f func(*os.Root) error) error {
	root, err := os.OpenRoot(p.base)
	if err != nil {
		return err
	}
	return errors.Join(f(root), root.Close())
}

func (p place) stat() (info fs.FileInfo, err error) {
	err = p.with(func(r *os.Root) error { info, err = r.Stat(p.name); return err })
	return info, err
}

// read returns a regular file's content. There being no file is no error:
// exists is then false.
func (p place) read() (content []byte, exists bool, err error) {
	err = p.with(func(r *os.Root) error {
		info, err := r.Stat(p.name)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return errors.New("it is not a regular file")
		}
		f, err := r.Open(p.name)
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
func (p place) names() ([]string, error) {
	var names []string
	err := p.with(func(r *os.Root) error {
		entries, err := fs.ReadDir(r.FS(), p.name)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// hostPlace resolves an absolute path of this machine. Where its end does not
// exist yet, the base is the directory nearest to it that does.
func hostPlace(shown string) (place, error) {
	real, err := filepath.EvalSymlinks(shown)
	if err == nil {
		return place{base: filepath.Dir(real), name: filepath.Base(real), shown: shown}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return place{}, err
	}
	if info, err := os.Lstat(shown); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return place{}, errors.New("it is a symbolic link to a file that does not exist")
	}
	dir := filepath.Dir(shown)
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return place{}, fmt.Errorf("%s is not a directory", dir)
		}
		real, err := filepath.EvalSymlinks(dir)
		return place{base: real, name: filepath.Base(shown), shown: shown}, err
	}
	p, err := hostPlace(dir)
	p.name, p.shown = path.Join(p.name, filepath.Base(shown)), shown
	return p, err
}

// imagePlace resolves a path as seen from inside the image. A link at its end
// is followed as the image would follow it; links on the way must be relative
// and stay inside, which [os.Root] sees to.
func imagePlace(root, inner string) (place, error) {
	p := place{base: root, name: inside(inner), shown: filepath.Join(root, inner)}
	err := p.with(func(r *os.Root) error {
		for range 40 {
			info, err := r.Lstat(p.name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || info.Mode()&fs.ModeSymlink == 0 {
				return err
			}
			target, err := r.Readlink(p.name)
			if err != nil {
				return err
			}
			if path.IsAbs(target) {
				p.name = inside(target)
			} else {
				p.name = path.Dir(p.name) + "/" + target // not cleaned: ".." counts from where links lead
			}
		}
		return errors.New("too many symbolic links")
	})
	return p, err
}

// inside turns an absolute path of an image into a name below its root.
func inside(inner string) string {
	if name := strings.TrimLeft(path.Clean("/"+filepath.ToSlash(inner)), "/"); name != "" {
		return name
	}
	return "."
}

//go:build unix

package trustedfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"golang.org/x/sys/unix"
)

const (
	// overflowUID is the user ID that is shown for an owner without a number in this user
	// namespace.
	overflowUID = 65534

	// maxLinks is the largest number of symbolic links that the kernel follows in one
	// path.
	maxLinks = 40
)

// Open opens the regular file at path for reading. kind names the file in errors, such
// as "the workspace file".
//
// It returns an error unless the file, every directory on the way to it and every link
// belong to root or this user, no directory is writable for group or others, and they
// have none of the refused permissions on the file. In a directory with the sticky bit,
// such as /tmp, only an entry's owner can replace it. A directory that is mounted
// read-only, as Kubernetes mounts a ConfigMap, cannot change, even by its owner.
//
// Two files of root are accepted although refused includes reading: a file that only
// root's group or a group of this program can read, and a file in a Kubernetes Secret
// volume, which has mode 0644 unless its pod asks for another mode.
//
// Open walks the path by descriptors, so that it opens exactly what it checked.
func Open(kind, path string, refused fs.FileMode) (*os.File, error) {
	w := &walker{kind: kind, path: path, dir: unix.AT_FDCWD}
	defer w.close()
	name, err := w.walk()
	if err == nil && name == "" {
		err = w.failed("", errNotRegular)
	}
	if err != nil {
		return nil, err
	}
	return w.open(name, refused)
}

// CheckDir returns an error unless the directory at path and everything on the way to
// it belong to root or this user and are not writable for group and others. Directories
// of root on the way may be writable for a group, like /var/log on some systems:
// CheckDir is for files whose writer notices when they are moved away.
func CheckDir(kind, path string) error {
	w := &walker{kind: kind, path: path, dir: unix.AT_FDCWD, group: true}
	defer w.close()
	name, err := w.walk()
	if err == nil && name != "" {
		err = w.failed(name, unix.ENOTDIR)
	}
	return err
}

// walk walks to the end of the path. file is the file's name in the last directory; ""
// if the path ends in that directory.
func (w *walker) walk() (file string, err error) {
	if w.remaining, err = absolute(w.path); err != nil {
		return "", err
	}
	if err := w.enter("/"); err != nil {
		return "", err
	}
	for w.remaining != "" {
		var name string
		name, w.remaining, _ = strings.Cut(w.remaining, "/")
		if name == "" || name == "." {
			continue
		}
		if isFile, err := w.step(name); err != nil || isFile {
			return name, err
		}
	}
	return "", nil
}

// absolute keeps dots in path: their meaning depends on links.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	dir, err := os.Getwd()
	return dir + "/" + path, err
}

// A walker walks to a file. All directories so far are trusted.
type walker struct {
	kind, path string // for errors
	dir        int    // the current directory
	name       string // its path, without links
	sticky     bool   // other users can add entries, and replace their own
	remaining  string // of the path
	links      int    // number of links followed so far
	volume     bool   // one of the links was ..data, by which Kubernetes replaces all files of a volume
	group      bool   // see CheckDir
}

func (w *walker) close() {
	if w.dir >= 0 {
		unix.Close(w.dir)
	}
}

// step goes on by one name. isFile reports whether it is the file, which is not opened
// yet.
func (w *walker) step(name string) (isFile bool, err error) {
	entry, err := w.inspect(name)
	if err != nil {
		return false, err
	}
	switch entry.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return false, w.enter(name)
	case unix.S_IFLNK:
		return false, w.follow(name)
	case unix.S_IFREG:
		if strings.Trim(w.remaining, "/") != "" {
			return false, w.failed(name, unix.ENOTDIR)
		}
		return true, nil
	}
	return false, w.failed(name, errNotRegular)
}

// openat is openat(2) in the current directory, or from the root for "/".
func (w *walker) openat(name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(w.dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// enter enters a directory, and checks who can write to it.
func (w *walker) enter(name string) error {
	fd, err := w.openat(name, directory)
	if err != nil {
		return w.failed(name, err)
	}
	w.close()
	w.dir, w.name = fd, w.join(name)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return w.failed("", err)
	}
	return w.check(int(st.Uid), fs.FileMode(st.Mode&0o777), st.Mode&unix.S_ISVTX != 0)
}

func (w *walker) check(uid int, mode fs.FileMode, sticky bool) error {
	w.sticky = sticky && mode&Writing != 0
	switch {
	case isReadOnly(w.dir):
		w.sticky = false
		return nil
	case !trusted(uid):
		return w.distrust("other users can replace it: "+belongs(w.name, uid), toOwn(w.name, uid))
	case mode&Writing == 0 || sticky, w.group && uid == 0 && mode&0o002 == 0 && strings.Trim(w.remaining, "/") != "":
		return nil
	case mode&0o002 != 0:
		return w.distrust(fmt.Sprintf("other users can replace it: %s is open to all (mode %04o)", w.name, mode), toClose(w.name, mode))
	}
	return w.distrust(fmt.Sprintf("other users can replace it: the group of %s can write to it (mode %04o)", w.name, mode), toClose(w.name, mode))
}

// inspect returns the state of name. It returns an error if its owner can replace it and
// is neither root nor this user.
func (w *walker) inspect(name string) (st unix.Stat_t, err error) {
	if err := unix.Fstatat(w.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return st, w.failed(name, err)
	}
	return st, w.checkOwner(name, &st)
}

func (w *walker) checkOwner(name string, st *unix.Stat_t) error {
	isLink := st.Mode&unix.S_IFMT == unix.S_IFLNK
	if uid := int(st.Uid); name != ".." && (w.sticky || isLink) && !trusted(uid) && !isReadOnly(w.dir) {
		return w.distrust("other users can replace it: "+belongs(w.join(name), uid), toOwn(w.join(name), uid))
	}
	return nil
}

// follow puts the target of a link before the rest of the path. It reads the same link
// whose owner it checks: another link may have its name by now.
func (w *walker) follow(name string) error {
	if w.links++; w.links > maxLinks {
		return w.failed(name, unix.ELOOP)
	}
	target, st, err := w.readLink(name)
	if err != nil {
		return w.failed(name, err)
	}
	if err := w.checkOwner(name, &st); err != nil {
		return err
	}
	w.remaining = target + "/" + w.remaining
	w.volume = w.volume || name == "..data"
	if strings.HasPrefix(w.remaining, "/") {
		return w.enter("/")
	}
	return nil
}

// open opens the file itself and checks the opened file.
func (w *walker) open(name string, refused fs.FileMode) (*os.File, error) {
	fd, err := w.openat(name, unix.O_RDONLY)
	if err != nil {
		return nil, w.failed(name, err)
	}
	f := os.NewFile(uintptr(fd), w.path)
	if err := w.checkFile(fd, refused); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (w *walker) checkFile(fd int, refused fs.FileMode) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return w.failed("", err)
	}
	mode, uid := fs.FileMode(st.Mode&0o777), int(st.Uid)
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return w.failed("", errNotRegular)
	case mode&refused&Writing != 0:
		return w.distrust(fmt.Sprintf("other users can write to it (mode %04o)", mode), "run chmod go-w "+usererr.Quote(w.path)+onWindowsDrive(mode))
	case mode&refused&^w.readers(fd, &st) != 0:
		return w.distrust(fmt.Sprintf("other users can read it (mode %04o)", mode), w.toHide(&st))
	case !trusted(uid):
		return w.distrust(belongs("it", uid), toOwn(w.path, uid))
	}
	return nil
}

// readers returns the permissions to read a file that root gave on purpose.
func (w *walker) readers(fd int, st *unix.Stat_t) fs.FileMode {
	switch {
	case st.Uid != 0:
		return 0
	case w.volume && isReadOnly(w.dir) && isMemory(fd):
		return 0o044
	case isOurs(int(st.Gid)):
		return 0o040
	}
	return 0
}

// isOurs reports whether a group is root's or one of this program's.
func isOurs(gid int) bool {
	groups, err := os.Getgroups()
	return gid == 0 || gid == os.Getegid() || err == nil && slices.Contains(groups, gid)
}

// toHide returns how to restrict a file so that this program can still read it.
func (w *walker) toHide(st *unix.Stat_t) string {
	switch {
	case int(st.Uid) == os.Geteuid():
		return "run chmod go= " + usererr.Quote(w.path)
	case isOurs(int(st.Gid)):
		return "run chmod o= " + usererr.Quote(w.path)
	}
	return "run chmod o= " + usererr.Quote(w.path) + " and change its group to one of this program's groups with chgrp"
}

func (w *walker) join(name string) string {
	if name == "/" {
		return name
	}
	return filepath.Join(w.name, name)
}

func (w *walker) failed(name string, err error) error {
	return &fs.PathError{Op: "open", Path: w.join(name), Err: err}
}

func (w *walker) distrust(why, do string) error {
	return usererr.New("trust "+w.kind+" "+w.path, why, do)
}

func trusted(uid int) bool { return uid == 0 || uid == os.Geteuid() }

func belongs(what string, uid int) string {
	if uid == overflowUID {
		return what + " shows as user 65534: its owner has no user ID in this container"
	}
	return fmt.Sprintf("%s belongs to user %d, who is neither root nor this user", what, uid)
}

const orMove = " or move the file to a directory that only root and this user can write to"

// toOwn returns what to do about an owner. With -h, the command changes a link itself.
func toOwn(path string, uid int) string {
	if uid == overflowUID {
		return "map its owner into the container or copy the file into the image"
	}
	return "run chown -h root " + usererr.Quote(path) + orMove
}

func toClose(dir string, mode fs.FileMode) string {
	do := "run chmod go-w " + usererr.Quote(dir)
	if mode&0o002 != 0 {
		do += " (or add +t if all users must write)"
	}
	return do + orMove + onWindowsDrive(mode)
}

// onWindowsDrive returns a hint for file systems that show every file with mode 0777: a
// Windows drive in WSL, or FAT.
func onWindowsDrive(mode fs.FileMode) string {
	if mode != 0o777 {
		return ""
	}
	return "; if that changes nothing, as on a Windows drive under WSL, move the file to a Linux file system or mount the drive with metadata,umask=22"
}

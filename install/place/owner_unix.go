//go:build unix

package place

import (
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// copyOwner gives f the owner and group in info. A user who may not give files away may
// still write their own file.
func copyOwner(info fs.FileInfo, f *os.File) error {
	want, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	have, ok := mine.Sys().(*syscall.Stat_t)
	if !ok || have.Uid == want.Uid && have.Gid == want.Gid {
		return nil
	}
	if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil && have.Uid != want.Uid {
		return ErrForeign
	}
	return nil
}

// isTrusted reports whether a file belongs to root or to the current user.
func isTrusted(info fs.FileInfo) bool { return owner(info) == 0 || owner(info) == os.Geteuid() }

func owner(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// setLinkTime sets the time of a symbolic link itself.
func setLinkTime(dir *os.Root, name string, when time.Time) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	at, err := unix.TimeToTimespec(when)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(f.Fd()), name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

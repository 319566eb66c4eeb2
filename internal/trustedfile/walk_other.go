//go:build unix && !linux

package trustedfile

import "golang.org/x/sys/unix"

const directory = unix.O_RDONLY | unix.O_DIRECTORY

// isReadOnly reports whether the file system of a directory is mounted read-only.
func isReadOnly(dir int) bool { return unix.Faccessat(dir, ".", unix.W_OK, 0) == unix.EROFS }

// isMemory is for Kubernetes, which does not run on this system.
func isMemory(int) bool { return false }

// readLink reads a link, and its state before and after. If the link changed between
// the two, it returns an error.
func (w *walker) readLink(name string) (target string, st unix.Stat_t, err error) {
	if err := unix.Fstatat(w.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", st, err
	}
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(w.dir, name, text)
	if err != nil {
		return "", st, err
	}
	var after unix.Stat_t
	if err := unix.Fstatat(w.dir, name, &after, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", st, err
	}
	if after.Dev != st.Dev || after.Ino != st.Ino || after.Ctim != st.Ctim {
		return "", st, unix.EAGAIN
	}
	return string(text[:n]), st, nil
}

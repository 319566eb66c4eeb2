package trustedfile

import "golang.org/x/sys/unix"

// directory opens a directory for passing through; the permission to list it is not
// needed.
const directory = unix.O_PATH | unix.O_DIRECTORY

// isReadOnly reports whether the file system of a directory is mounted read-only here.
// access(2) alone reports that only if the mode allows writing.
func isReadOnly(dir int) bool {
	var st unix.Statfs_t
	return unix.Faccessat(dir, ".", unix.W_OK, 0) == unix.EROFS || unix.Fstatfs(dir, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

// isMemory reports whether a file is in a tmpfs, as Kubernetes Secrets are.
func isMemory(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Type == unix.TMPFS_MAGIC
}

// readLink reads a link and its state through one descriptor.
func (w *walker) readLink(name string) (target string, st unix.Stat_t, err error) {
	fd, err := w.openat(name, unix.O_PATH)
	if err != nil {
		return "", st, err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return "", st, err
	}
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", text)
	return string(text[:max(n, 0)]), st, err
}

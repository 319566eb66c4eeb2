//go:build unix && !linux

package trustedfile

import "golang.org/x/sys/unix"

const directory = unix.O_RDONLY | unix.O_DIRECTORY

// isReadOnly reports whether the file system of a directory is mounted read-only.
func isReadOnly(dir int) bool { return unix.Faccessat(dir, ".", unix.W_OK, 0) == unix.EROFS }

// isMemory is about Kubernetes, which mounts nothing here.
func isMemory(int) bool { return false }

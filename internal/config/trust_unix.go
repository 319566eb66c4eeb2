//go:build unix

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/internal/oneline"
)

const (
	// nobody is the owner that a file shows which has no number in this user
	// namespace.
	nobody = 65534

	// maxLinks is how many symbolic links the kernel follows in one path.
	maxLinks = 40
)

// trust returns an error unless only root or this user can change the
// workspace file at path, which info describes, or put another in its place:
// it belongs to one of them, neither group nor others may write to it, and no
// directory on the way to it lets everybody rename what is in it.
//
// In an image, root owns the file, and so nothing that runs in the workspace
// as another user can widen it. One's own file is as good as what one may do.
func trust(path string, info fs.FileInfo) error {
	mode, uid := info.Mode().Perm(), owner(info)
	switch {
	case mode&0o022 != 0:
		return distrusted(path, fmt.Sprintf("others can write to it (mode %04o)", mode), closing(path, mode))
	case uid == nobody && os.Geteuid() != nobody:
		return distrusted(path, "it shows as user 65534: its owner has no number in this container",
			"map its owner into the container or copy the file into the image")
	case !oursOrRoots(info):
		return distrusted(path, fmt.Sprintf("it belongs to user %d, who is neither root nor you", uid), "run chown root "+oneline.Quote(path))
	}
	return replaceable(path)
}

// closing is what to do about a file that others can write to. Some mounts show
// every file so, whatever its mode is set to: a Windows drive in WSL, FAT.
func closing(path string, mode fs.FileMode) string {
	do := "run chmod go-w " + oneline.Quote(path)
	if mode == 0o777 {
		do += "; where that changes nothing, as on a Windows drive under WSL, move the file to a Linux file system or mount the drive with metadata,umask=22"
	}
	return do
}

func distrusted(path, why, do string) error {
	return oneline.New("trust the workspace file "+path, why, do)
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func oursOrRoots(info fs.FileInfo) bool {
	uid := owner(info)
	return uid == 0 || uid == os.Geteuid()
}

// replaceable returns an error where everybody can write to a directory on the
// way to path, links followed, and so put something else in place of what is
// looked up there. With the sticky bit, as /tmp has it, only the owner of that
// can; and nobody can on a file system that is mounted read-only, as Kubernetes
// mounts a ConfigMap.
func replaceable(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	return eachStep(path, func(dir, next string) error {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o002 == 0 {
			return err
		}
		if info.Mode()&fs.ModeSticky != 0 {
			if child, err := os.Lstat(next); err != nil || oursOrRoots(child) {
				return err
			}
			return distrusted(path, next+" belongs to somebody else, who can replace it", "move the file to where only root and you can write")
		}
		if errors.Is(syscall.Access(dir, 0x2), syscall.EROFS) {
			return nil
		}
		return distrusted(path, fmt.Sprintf("others can replace it: %s is open to all (mode %04o)", dir, info.Mode().Perm()),
			"run chmod o-w "+oneline.Quote(dir)+" (+t where all must write) or move the file to where only root and you can write")
	})
}

// eachStep calls look for every name that is looked up on the way to path: with
// the directory, free of links, and the name in it.
func eachStep(path string, look func(dir, next string) error) error {
	dir, rest, links := "/", path, 0
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		switch name {
		case "", ".":
			continue
		case "..":
			dir = filepath.Dir(dir)
			continue
		}
		next := filepath.Join(dir, name)
		if err := look(dir, next); err != nil {
			return err
		}
		target, err := os.Readlink(next)
		switch {
		case err != nil: // no link
			dir = next
			continue
		case links == maxLinks:
			return syscall.ELOOP
		case filepath.IsAbs(target):
			dir = "/"
		}
		links++
		rest = target + "/" + rest
	}
	return nil
}

package filestore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// version returns the version of an entry: a hash of its value and of the time it was
// written, in nanoseconds. On a file system that stores whole seconds, the same value
// written twice in a second has the same version.
func version(modified time.Time, value store.Secret) string {
	sum := sha256.Sum256([]byte(modified.UTC().Format(time.RFC3339Nano) + " " + value.Reveal()))
	return hex.EncodeToString(sum[:16])
}

// date sets the time of a written file to now, or to a time later than that of the file
// that it replaces. The time that a kernel sets by itself is the same for all writes
// within a few milliseconds.
func date(root *os.Root, scratch string, name store.Name) error {
	now := time.Now()
	info, err := root.Lstat(name.String())
	if err == nil && !now.After(info.ModTime()) {
		now = info.ModTime().Add(time.Microsecond)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.Chtimes(scratch, now, now)
}

// Swap implements [store.Swapper]. It holds the lock that every writer takes.
func (s *Store) Swap(ctx context.Context, name store.Name, value store.Secret, seen string, _ time.Time) (string, error) {
	what := "write " + s.dir + "/" + name.String()
	if err := value.Check(); err != nil {
		return "", usererr.Wrap(what, err, "")
	}
	if err := ctx.Err(); err != nil {
		return "", usererr.Wrap(what, err, "")
	}
	if err := os.MkdirAll(s.dir, folderMode); err != nil {
		return "", describe(what, err)
	}
	var next string
	err := s.locked(ctx, what, name, func(root *os.Root) error {
		there, err := versionOf(root, name)
		if err != nil {
			return err
		}
		if there != seen {
			return store.ErrChanged
		}
		if err := writeEntry(root, name, value, store.Replace); err != nil {
			return err
		}
		next, err = versionOf(root, name)
		return err
	})
	return next, err
}

// versionOf returns the version of the entry; "" if there is none. A damaged entry
// counts as changed.
func versionOf(root *os.Root, name store.Name) (string, error) {
	entry, err := readEntry(root, name)
	if _, ok := errors.AsType[damaged](err); ok {
		return "", store.ErrChanged
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return entry.Version, err
}

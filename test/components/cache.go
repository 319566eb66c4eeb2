//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/test/extbuild"
)

// A cache stores what was set up, one folder per component and version. A folder under
// its final name is complete: it is filled under another name and then renamed.
type cache struct {
	dir string
}

// userCache returns the cache of the user who runs this:
// ${XDG_CACHE_HOME:-~/.cache}/gatepass-test.
func userCache() (cache, error) {
	dir, err := extbuild.CacheDir()
	return cache{dir: dir}, err
}

// path returns the folder of an entry, which may not exist.
func (c cache) path(key string) string { return filepath.Join(c.dir, key) }

// has reports whether the entry exists; it is then complete.
func (c cache) has(key string) bool {
	info, err := os.Stat(c.path(key))
	return err == nil && info.IsDir()
}

// build makes the entry by calling fill with an empty folder, unless the entry exists.
// First it removes what an interrupted build left. The caller must hold the lock.
func (c cache) build(key string, fill func(dir string) error) error {
	if c.has(key) {
		return nil
	}
	partial := c.path(key) + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("remove an interrupted set-up: %w", err)
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return err
	}
	if err := fill(partial); err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	return os.Rename(partial, c.path(key))
}

// lock waits until no other run sets up components in this cache, or ctx ends. If it
// has to wait, it says so on w. The kernel releases the lock when its process ends, so
// a lock is never stale.
func (c cache) lock(ctx context.Context, w io.Writer) (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(c.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for waiting := false; ; waiting = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", c.dir, err)
		}
		if !waiting {
			fmt.Fprintln(w, "waiting for another run to finish setting up")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another run: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

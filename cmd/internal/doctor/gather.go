package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gatepass/gatepass/store"
)

// gather reads all facts at the same time, and then reads more about what looks wrong.
func (c *Checkup) gather(ctx context.Context) *facts {
	f := &facts{now: c.now()}
	var together sync.WaitGroup
	together.Go(func() { f.store = c.gatherStore(ctx) })
	together.Go(func() { f.app = c.gatherApp(ctx, "") })
	together.Go(func() { f.pool, f.poolErr = c.gatherPool(ctx) })
	together.Go(func() { f.ledger = c.gatherLedger(ctx) })
	together.Wait()
	if f.app.opened != nil {
		f.now = f.app.opened.Time() // times in the ledger follow GitHub's clock
	}
	if f.store.err != nil || f.ledger.err != nil {
		return f
	}
	c.lookAtFolders(ctx, &f.ledger)
	lookAtPending(ctx, f)
	return f
}

func (c *Checkup) gatherStore(ctx context.Context) storeFacts {
	f := storeFacts{url: c.StoreURL, isFiles: c.Folder != "", isShared: c.isShared()}
	if _, err := c.Store.Get(ctx, store.AppClientID()); err != nil && !errors.Is(err, store.ErrNotFound) {
		f.err = err
		return f
	}
	switch {
	case c.Folder != "":
		f.exposed, f.exposedErr = exposed(ctx, c.Folder)
	case c.AWS != nil:
		f.exposed, f.exposedErr = plainKey(ctx, c.AWS)
	}
	return f
}

// isShared reports whether the store has tokens in the place where the first system
// keeps its own (docs/migrating.md), so that a token may belong to either.
func (c *Checkup) isShared() bool {
	name, err := store.OnlyToken("x")
	return err == nil && c.AWS != nil && c.AWS.Parameter(name) == "/sandbox/x/github-token"
}

// plainKey returns the parameter of the App's private key if AWS does not encrypt it.
func plainKey(ctx context.Context, s ParameterStore) ([]string, error) {
	isEncrypted, err := s.IsEncrypted(ctx, store.PrivateKey())
	if errors.Is(err, store.ErrNotFound) || isEncrypted {
		return nil, nil
	}
	return []string{"the parameter " + s.Parameter(store.PrivateKey())}, err
}

// exposed returns the files and folders below dir that other users can access. It does
// not look inside such a folder.
func exposed(ctx context.Context, dir string) ([]string, error) {
	var open []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || info.Mode()&os.ModeSymlink != 0 || info.Mode().Perm()&0o077 == 0 {
			return err
		}
		open = append(open, path)
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return open, err
}

// workers is the number of parallel requests.
const workers = 8

// parallel calls work for each item, several at a time.
func parallel[T any](items []T, work func(T)) {
	queue := make(chan T)
	var running sync.WaitGroup
	for range min(workers, len(items)) {
		running.Go(func() {
			for item := range queue {
				work(item)
			}
		})
	}
	for _, item := range items {
		queue <- item
	}
	close(queue)
	running.Wait()
}

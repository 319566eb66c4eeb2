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

// gather reads what can be read side by side, and then looks closer at what
// stands out.
func (c *Checkup) gather(ctx context.Context) *facts {
	f := &facts{now: c.now()}
	var together sync.WaitGroup
	together.Go(func() { f.store = c.gatherStore(ctx) })
	together.Go(func() { f.app = c.gatherApp(ctx) })
	together.Go(func() { f.ledger = c.gatherLedger(ctx) })
	together.Go(func() { f.cloud = c.gatherCloud(ctx) })
	together.Wait()
	if f.app.opened != nil {
		f.now = f.app.opened.Time() // the ledger's moments are by GitHub's clock
	}
	if f.store.err != nil || f.ledger.err != nil {
		return f
	}
	c.lookAtFolders(ctx, &f.ledger)
	together.Go(func() { lookAtPending(ctx, f) })
	together.Go(func() { c.examineKeys(ctx, f) })
	together.Wait()
	return f
}

func (c *Checkup) gatherStore(ctx context.Context) storeFacts {
	f := storeFacts{url: c.StoreURL, isFiles: c.Folder != ""}
	if _, err := c.Store.Get(ctx, store.AppClientID()); err != nil && !errors.Is(err, store.ErrNotFound) {
		f.err = err
		return f
	}
	switch {
	case c.Folder != "":
		f.exposed, f.exposedErr = exposed(ctx, c.Folder)
	case c.Cloud != nil:
		f.exposed, f.exposedErr = c.Cloud.Exposed(ctx)
	}
	return f
}

// exposed returns the files and folders below dir that others than their owner
// can use, without those below such a folder.
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

// workers is how many questions are asked side by side.
const workers = 8

// parallel does the work for each item, a few at once.
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

package doctor

import (
	"context"
	"errors"
	"sync"

	"github.com/gatepass/gatepass/store"
)

// gatherCloud lists what lies beside the store.
func (c *Checkup) gatherCloud(ctx context.Context) (f cloudFacts) {
	if c.Cloud == nil {
		return f
	}
	f.isThere = true
	var together sync.WaitGroup
	together.Go(func() { f.keys, f.keysErr = c.Cloud.Keys(ctx) })
	together.Go(func() { f.schedules, f.schedulesErr = c.Cloud.Schedules(ctx) })
	together.Wait()
	// Where no App is set up, nobody can say what is gone; that is said already.
	if errors.Is(f.keysErr, store.ErrNotFound) || errors.Is(f.schedulesErr, store.ErrNotFound) {
		return cloudFacts{isThere: true}
	}
	return f
}

// examineKeys looks closer at the keys whose workspace is gone.
func (c *Checkup) examineKeys(ctx context.Context, f *facts) {
	f.cloud.verdicts = map[Key]Verdict{}
	var gone []Key
	for _, k := range f.cloud.keys {
		if f.isGone(k.Workspace) {
			gone = append(gone, k)
		}
	}
	var mu sync.Mutex // guards verdicts and keysErr
	parallel(gone, func(k Key) {
		verdict, err := c.Cloud.Examine(ctx, k)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			f.cloud.keysErr = err
			return
		}
		f.cloud.verdicts[k] = verdict
	})
}

// isGone reports that the store, which was read to its end, has nothing at all of
// a workspace.
func (f *facts) isGone(id string) bool {
	return f.ledger.err == nil && f.ledger.folders[id] == nil
}

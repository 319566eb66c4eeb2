package doctor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// gatherLedger lists the entries of workspaces, and reads all records.
func (c *Checkup) gatherLedger(ctx context.Context) ledgerFacts {
	f := ledgerFacts{unreadable: map[string]error{}, folders: map[string]*folder{}}
	var listErr error
	var listing sync.WaitGroup
	listing.Go(func() { listErr = c.list(ctx, f.folders) })
	for found, err := range workspace.Records(ctx, c.Store) {
		if err != nil {
			f.err = err
			break
		}
		if found.Err != nil {
			f.unreadable[found.ID] = found.Reason()
			continue
		}
		f.records = append(f.records, found.Record)
	}
	listing.Wait()
	f.err = cmp.Or(f.err, listErr)
	slices.SortFunc(f.records, func(a, b *workspace.Record) int { return cmp.Compare(a.ID, b.ID) })
	return f
}

func (c *Checkup) list(ctx context.Context, folders map[string]*folder) error {
	for name, err := range c.Store.List(ctx, store.Workspaces()) {
		if err != nil {
			return err
		}
		if id, ok := name.Workspace(); ok {
			if folders[id] == nil {
				folders[id] = new(folder)
			}
			folders[id].names = append(folders[id].names, name)
		}
	}
	return nil
}

// lookAtFolders checks again the folders with a lock and those with forgotten tokens:
// during the listing, a workspace may have been created or destroyed.
func (c *Checkup) lookAtFolders(ctx context.Context, l *ledgerFacts) {
	var ids []string
	for id, f := range l.folders {
		if f.isForgotten() || f.has(store.Name.IsLock) {
			ids = append(ids, id)
		}
	}
	parallel(ids, func(id string) {
		f := l.folders[id]
		f.names, f.err = c.names(ctx, id)
		if f.err == nil {
			f.lock, f.err = c.lockOf(ctx, id)
		}
		if f.err == nil && f.isForgotten() {
			f.err = c.date(ctx, f)
		}
	})
}

// names returns the current entries of a workspace.
func (c *Checkup) names(ctx context.Context, id string) ([]store.Name, error) {
	below, err := store.Workspace(id)
	if err != nil {
		return nil, err
	}
	var names []store.Name
	for name, err := range c.Store.List(ctx, below) {
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func (c *Checkup) lockOf(ctx context.Context, id string) (lockState, error) {
	left, err := (&workspace.Issuer{Store: c.Store, Now: c.Now}).LockedFor(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return unlocked, nil
	case err != nil:
		return held, err
	case left > 0:
		return held, nil
	}
	return leftOver, nil
}

// date sets the time at which the latest token was written.
func (c *Checkup) date(ctx context.Context, f *folder) error {
	for _, name := range f.names {
		if !name.IsToken() && !name.IsSuperseded() {
			continue
		}
		entry, err := c.Store.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if entry.Modified.After(f.written) {
			f.written = entry.Modified
		}
	}
	return nil
}

// maxLookUps is the largest number of repositories that GitHub is asked about.
const maxLookUps = 20

// lookAtPending asks GitHub whether the App can access the repositories that pending
// workspaces name. This needs no token.
func lookAtPending(ctx context.Context, f *facts) {
	f.ledger.unreached = map[string][]string{}
	if f.app.err != nil || f.app.refused != nil {
		return
	}
	var mu sync.Mutex // guards unreached
	parallel(f.lookUps(), func(l lookUp) {
		_, err := f.app.opened.InstallationFor(ctx, l.owner, l.name)
		if failure, ok := errors.AsType[*mint.Error](err); ok && failure.Kind == mint.NotInstalled {
			mu.Lock()
			defer mu.Unlock()
			f.ledger.unreached[l.workspace] = append(f.ledger.unreached[l.workspace], l.owner+"/"+l.name)
		}
	})
}

// A lookUp names one repository.
type lookUp struct{ workspace, owner, name string }

// lookUps returns the repositories that pending workspaces name and whose account has
// the App.
func (f *facts) lookUps() []lookUp {
	var all []lookUp
	for _, r := range f.pending() {
		lacking := lackingOwners(r)
		for _, p := range r.Repositories {
			owner, name, _ := strings.Cut(p.String(), "/")
			isExact := !p.Everything() && !strings.Contains(name, "*")
			if isExact && slices.Contains(lacking, p.Owner()) && f.installationOf(p.Owner()) != nil {
				all = append(all, lookUp{r.ID, owner, name})
			}
		}
	}
	return all[:min(len(all), maxLookUps)]
}

// installationOf returns the App's installation on an account, according to GitHub.
func (f *facts) installationOf(owner string) *mint.Installation {
	for i := range f.app.found {
		if strings.EqualFold(f.app.found[i].Account.Login, owner) {
			return &f.app.found[i]
		}
	}
	return nil
}

package revoke

import (
	"context"
	"strings"

	"github.com/gatepass/gatepass/store"
)

// pageSize is how many names one call of the store lists.
const pageSize = 500

// Some returns the entries of the first n or more workspaces whose ids come after an id
// and begin with begin, in the order of [store.CompareWorkspaces]. If the store has no
// pages, it returns what List returns.
func (r *Revoker) Some(ctx context.Context, after, begin string, n int) (Listing, error) {
	pager, ok := r.Store.(store.Pager)
	if !ok {
		return r.List(ctx)
	}
	found := Listing{Names: map[string][]store.Name{}, AsOf: r.Now()}
	at, err := store.WorkspacesAfter(after, begin)
	for err == nil {
		var names []store.Name
		names, err = pager.Page(ctx, store.Workspaces(), at, pageSize)
		if !found.add(names, begin, n) || len(names) < pageSize {
			break
		}
		at = names[len(names)-1]
	}
	return found, err
}

// add adds names, and reports whether more are needed.
func (l Listing) add(names []store.Name, begin string, n int) bool {
	for _, name := range names {
		id, ok := name.Workspace()
		if !ok {
			continue
		}
		isKnown := l.Names[id] != nil
		if !isKnown && len(l.Names) >= n || !strings.HasPrefix(id, begin) {
			return false
		}
		l.Names[id] = append(l.Names[id], name)
	}
	return true
}

// Of returns the names of one workspace's entries.
func (r *Revoker) Of(ctx context.Context, id string) ([]store.Name, error) {
	below, err := store.Workspace(id)
	if err != nil {
		return nil, err
	}
	names, err := byWorkspace(ctx, r.Store, below)
	return names[id], err
}

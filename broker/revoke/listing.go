package revoke

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gatepass/gatepass/store"
)

const (
	// listingWait is how long a request waits for a new listing if an earlier one
	// exists. AWS's Parameter Store takes minutes for ten thousand workspaces.
	listingWait    = 2 * time.Second
	listingTimeout = 10 * time.Minute
	// A listing that took longListing or more is reused for ten times as long as it
	// took, up to a minute: so an operator's many requests in a row list only a small
	// part of the time.
	longListing     = 100 * time.Millisecond
	listingReuse    = 10
	maxListingReuse = time.Minute
)

// A Listing says which entries the store has for each workspace. It must not be
// changed.
type Listing struct {
	Names map[string][]store.Name // by workspace
	AsOf  time.Time               // when the listing began

	until time.Time // it is reused until then; zero if it is not
}

// Sharers returns the other workspaces that hold a token of workspace id, sorted.
func (l Listing) Sharers(id string) []string {
	isOf := map[string]bool{}
	for _, name := range l.Names[id] {
		isOf[name.TokenID()] = name.IsVended()
	}
	var others []string
	for other, names := range l.Names {
		if other != id && slices.ContainsFunc(names, func(n store.Name) bool { return isOf[n.TokenID()] }) {
			others = append(others, other)
		}
	}
	slices.Sort(others)
	return others
}

// List returns which entries the store has for all workspaces. A listing that took long
// is reused for a while. If the store takes more than 2 s for a new one, List returns
// the last one; AsOf says when it was made.
func (r *Revoker) List(ctx context.Context) (Listing, error) { return r.listing.get(ctx) }

// listing reads the store once for all requests that come during the read, and for a
// while afterwards.
type listing struct {
	store store.Store
	now   func() time.Time

	flight singleflight.Group
	last   atomic.Pointer[Listing] // nil before the first one
}

func (l *listing) get(ctx context.Context) (Listing, error) {
	last := l.last.Load()
	if last != nil && l.now().Before(last.until) {
		return *last, nil
	}
	done := l.flight.DoChan("", func() (any, error) { return l.read(context.WithoutCancel(ctx)) })
	var late <-chan time.Time
	if last != nil {
		late = time.After(listingWait)
	}
	select {
	case read := <-done:
		return read.Val.(Listing), read.Err
	case <-late:
		return *last, nil
	case <-ctx.Done():
		return Listing{}, ctx.Err()
	}
}

// read serves all callers that wait: it goes on when one of them gives up.
func (l *listing) read(ctx context.Context) (Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, listingTimeout)
	defer cancel()
	asOf := l.now()
	names, err := byWorkspace(ctx, l.store, store.Workspaces())
	if err != nil {
		return Listing{}, err
	}
	found := Listing{Names: names, AsOf: asOf}
	if took := l.now().Sub(asOf); took >= longListing {
		found.until = asOf.Add(took + min(listingReuse*took, maxListingReuse))
	}
	l.last.Store(&found)
	return found, nil
}

// byWorkspace lists the entries below a prefix, by workspace.
func byWorkspace(ctx context.Context, s store.Store, below store.Prefix) (map[string][]store.Name, error) {
	names := map[string][]store.Name{}
	for name, err := range s.List(ctx, below) {
		if err != nil {
			return nil, err
		}
		if id, ok := name.Workspace(); ok {
			names[id] = append(names[id], name)
		}
	}
	return names, nil
}

// pageSize is how many names one call of the store lists.
const pageSize = 500

// ListSome returns the entries of the first n or more workspaces whose ids come after an id
// and begin with begin, in the order of [store.CompareWorkspaces]. If the store has no
// pages, it returns what List returns.
func (r *Revoker) ListSome(ctx context.Context, after, begin string, n int) (Listing, error) {
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

// ListOf returns the names of one workspace's entries.
func (r *Revoker) ListOf(ctx context.Context, id string) ([]store.Name, error) {
	below, err := store.Workspace(id)
	if err != nil {
		return nil, err
	}
	names, err := byWorkspace(ctx, r.Store, below)
	return names[id], err
}

package mint

import (
	"context"
	"iter"
	"sync"
)

// A Catalog remembers what installations reach, so that a pass over many
// workspaces lists each installation once. It is for the time of one pass: what
// is granted and created later is not in it. The zero Catalog is empty, and may
// be used concurrently.
type Catalog struct {
	mu       sync.Mutex // guards listings
	listings map[int64]*listing
}

// listing is one installation's.
type listing struct {
	mu           sync.Mutex // guards the rest; held while listing, so that one lists for all
	isComplete   bool
	repositories []repository
}

func (c *Catalog) of(installation int64) *listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listings == nil {
		c.listings = map[int64]*listing{}
	}
	if c.listings[installation] == nil {
		c.listings[installation] = &listing{}
	}
	return c.listings[installation]
}

// reached yields the repositories of an installation: from the catalog, or from
// GitHub page after page where there is none.
func (a *App) reached(ctx context.Context, known *Catalog, installation int64) iter.Seq2[repository, error] {
	if known == nil {
		return a.read(ctx, installation)
	}
	return func(yield func(repository, error) bool) {
		all, err := known.of(installation).fill(a.read(ctx, installation))
		if err != nil {
			yield(repository{}, err)
			return
		}
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// fill lists what is not known yet. A listing that broke off is forgotten.
func (l *listing) fill(pages iter.Seq2[repository, error]) ([]repository, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isComplete {
		return l.repositories, nil
	}
	var all []repository
	for r, err := range pages {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	l.repositories, l.isComplete = all, true
	return all, nil
}

// read lists an installation's repositories with a token of its own.
func (a *App) read(ctx context.Context, installation int64) iter.Seq2[repository, error] {
	return func(yield func(repository, error) bool) {
		isOver := false
		err := a.withReader(ctx, installation, func(r reader) error {
			for repo, err := range r.repositories(ctx) {
				if err != nil {
					return err
				}
				if isOver = !yield(repo, nil); isOver {
					break
				}
			}
			return nil
		})
		if err != nil && !isOver {
			yield(repository{}, err)
		}
	}
}

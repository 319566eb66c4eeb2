package vaultstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/store"
)

// Page implements [store.Pager]. It lists only the folders that hold names of the page,
// and those above them.
func (s *Store) Page(ctx context.Context, below store.Prefix, after store.Name, limit int) ([]store.Name, error) {
	p := &pager{folders: folders{store: s}, after: after.String(), limit: limit}
	err := p.folder(ctx, below.String())
	return p.names, err
}

// A pager collects the names of one page.
type pager struct {
	folders
	after string
	limit int
	names []store.Name
}

// folder adds the names of a folder that come after the last page. Vault's keys of
// folders end with a slash, so they sort like the names in them.
func (p *pager) folder(ctx context.Context, folder string) error {
	keys, err := p.keys(ctx, folder)
	if err != nil {
		return err
	}
	slices.Sort(keys)
	for _, key := range keys {
		if len(p.names) >= p.limit {
			return nil
		}
		path := strings.TrimPrefix(folder+"/"+key, "/")
		if path <= p.after && !strings.HasPrefix(p.after, path) || path == p.after {
			continue
		}
		if inner, ok := strings.CutSuffix(path, "/"); ok {
			if err := p.folder(ctx, inner); err != nil {
				return err
			}
			continue
		}
		if name, err := store.ParseName(path); err == nil && path > p.after {
			p.names = append(p.names, name)
		}
	}
	return nil
}

// folders lists folders one by one, with the pauses that [store.WithPause] asks for.
type folders struct {
	store    *Store
	took     time.Duration // of the last call
	isCalled bool
}

func (f *folders) keys(ctx context.Context, folder string) ([]string, error) {
	if f.isCalled {
		if err := store.Pause(ctx, f.took); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	keys, err := f.store.keys(ctx, folder)
	f.isCalled, f.took = true, time.Since(began)
	return keys, err
}

package filestore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/store"
)

// Page implements [store.Pager]. It reads only the folders on the way to the names.
func (s *Store) Page(ctx context.Context, below store.Prefix, after store.Name, limit int) ([]store.Name, error) {
	what := "list " + s.dir + "/" + below.String()
	root, err := s.open(ctx, what, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	p := pager{ctx: ctx, root: root, after: after.String(), limit: limit}
	if err := p.folder(below.String()); err != nil {
		return nil, describe(what, err)
	}
	return p.names, nil
}

// A pager visits folders in the order of the names in them.
type pager struct {
	ctx   context.Context
	root  *os.Root
	after string
	limit int
	names []store.Name
}

func (p *pager) isFull() bool { return len(p.names) >= p.limit }

// folder adds the content of a folder; "" is the store's own.
func (p *pager) folder(folder string) error {
	entries, err := p.entries(folder)
	if err != nil {
		return err
	}
	for _, path := range entries {
		inner, isFolder := strings.CutSuffix(path, "/")
		switch name, err := store.ParseName(inner); {
		case p.isFull():
			return nil
		case p.ctx.Err() != nil:
			return p.ctx.Err()
		case err != nil:
			continue
		case !isFolder && path > p.after:
			p.names = append(p.names, name)
		case isFolder && (path > p.after || strings.HasPrefix(p.after, path)):
			if err := p.folder(inner); err != nil {
				return err
			}
		}
	}
	return nil
}

// entries returns the paths of a folder's files, and of its folders with a slash at the
// end, in order. It returns none if the folder was removed meanwhile.
func (p *pager) entries(folder string) ([]string, error) {
	from, inside := ".", ""
	if folder != "" {
		from, inside = folder, folder+"/"
	}
	info, err := p.root.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !info.IsDir() {
		err = errNoFolder
	}
	if err != nil {
		return nil, err
	}
	found, err := fs.ReadDir(p.root.FS(), from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var paths []string
	for _, entry := range found {
		switch {
		case entry.IsDir():
			paths = append(paths, inside+entry.Name()+"/")
		case entry.Type().IsRegular():
			paths = append(paths, inside+entry.Name())
		}
	}
	slices.Sort(paths)
	return paths, nil
}

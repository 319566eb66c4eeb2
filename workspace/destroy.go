package workspace

import (
	"context"
	"errors"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/store"
)

// Destroy revokes every token of the workspace, deletes what the store has of
// it, and proves that it is gone. It may be called again at any time. It returns
// the tokens that a run lost before it could deliver them: nobody has their
// text, and they run out by themselves ([Token.DiesBy]).
func (i *Issuer) Destroy(ctx context.Context, id string) (lost []Token, err error) {
	names, err := i.names(ctx, id)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	r, err := i.Load(ctx, id)
	if errors.Is(err, store.ErrNotFound) { // of the first system, or half destroyed
		r, err = &Record{ID: id, Created: i.now()}, nil
	}
	if err != nil {
		return nil, err
	}
	r.Destroying = true
	if err := i.save(ctx, r); err != nil {
		return nil, err
	}
	if lost, err = i.settle(ctx, r); err != nil {
		return lost, err
	}
	return lost, i.remove(ctx, id)
}

// names are all that the store has of a workspace.
func (i *Issuer) names(ctx context.Context, id string) ([]store.Name, error) {
	folder, err := store.Workspace(id)
	if err != nil {
		return nil, err
	}
	var names []store.Name
	for name, err := range i.Store.List(ctx, folder) {
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// remove deletes the record last: without it, nobody would know what is left to
// do. Tokens are gone by then; one that is there was put by somebody else.
func (i *Issuer) remove(ctx context.Context, id string) error {
	names, err := i.names(ctx, id)
	if err != nil {
		return err
	}
	var record store.Name
	for _, name := range names {
		if name.IsToken() {
			return oneline.New("destroy workspace "+id, "somebody delivers tokens to it at the same time", "stop that, and destroy it again")
		}
		if name.IsRecord() {
			record = name
		} else if err := i.Store.Delete(ctx, name); err != nil {
			return err
		}
	}
	if record.IsZero() {
		return nil
	}
	if err := i.Store.Delete(ctx, record); err != nil {
		return err
	}
	if names, err = i.names(ctx, id); err == nil && len(names) > 0 {
		err = oneline.New("destroy workspace "+id, names[0].String()+" is still in the store", "destroy it again")
	}
	return err
}

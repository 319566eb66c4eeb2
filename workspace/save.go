package workspace

import (
	"context"
	"errors"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// A seen says which version of the record this run has read or written. The zero seen
// is that there was none.
type seen struct {
	version string
	// unsure is the value of a write that failed and may have taken place all the same.
	unsure string
	// isUnknown says that what was there could not be read. It is replaced.
	isUnknown bool
}

// save writes the record, before anything is done that it says. A run whose time is
// over does nothing more. Where the store compares versions, neither does a run whose
// record another run has changed: it gets an error that wraps [ErrBusy].
func (i *Issuer) save(ctx context.Context, r *Record) error {
	if err := i.isOver(ctx); err != nil {
		return err
	}
	name, err := store.Record(r.ID)
	if err != nil {
		return err
	}
	data, err := r.Encode()
	if err != nil {
		return err
	}
	value := store.NewSecret(string(data))
	if s, ok := i.Store.(store.Swapper); ok && !r.seen.isUnknown {
		return i.swapRecord(ctx, s, name, r, value)
	}
	err = store.PutDue(ctx, i.Store, name, value, store.Replace, r.due(i.want(r, nil)))
	r.isDirty = r.isDirty && err != nil
	return err
}

func (i *Issuer) swapRecord(ctx context.Context, s store.Swapper, name store.Name, r *Record, value store.Secret) error {
	if r.seen.unsure != "" {
		entry, err := i.Store.Get(ctx, name)
		switch {
		case err == nil && entry.Value.Reveal() == r.seen.unsure:
			r.seen.version = entry.Version
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	version, err := s.Swap(ctx, name, value, r.seen.version, r.due(i.want(r, nil)))
	switch {
	case errors.Is(err, store.ErrChanged):
		return busy(r.ID, 0)
	case err != nil:
		r.seen.unsure = value.Reveal()
		return err
	}
	r.seen, r.isDirty = seen{version: version}, false
	return nil
}

// put writes a token to a name as it was when h read it. Where the store compares
// versions, it returns an error that wraps [ErrBusy] if somebody else has written there
// since.
func (i *Issuer) put(ctx context.Context, id string, h *heldTokens, name store.Name, token credential.Token) error {
	value := store.NewSecret(token.Secret())
	s, ok := i.Store.(store.Swapper)
	if !ok {
		return i.Store.Put(ctx, name, value, store.Replace)
	}
	version, err := s.Swap(ctx, name, value, h.versions[name], time.Time{})
	if errors.Is(err, store.ErrChanged) {
		return busy(id, 0)
	}
	if err == nil {
		h.versions[name] = version
	}
	return err
}

// keep puts a token where a later run revokes it.
func (i *Issuer) keep(ctx context.Context, id string, h *heldTokens, token credential.Token) error {
	name, err := supersededName(id, token)
	if err != nil {
		return err
	}
	err = i.put(ctx, id, h, name, token)
	if errors.Is(err, ErrBusy) { // a copy of the same token, which names are made of
		err = i.Store.Put(ctx, name, store.NewSecret(token.Secret()), store.Replace)
	}
	if err == nil {
		h.kept = append(h.kept, storedToken{token, name})
	}
	return err
}

// Package split stores the tokens that workspaces read in one store, and everything
// else in another: records, superseded tokens that wait to be revoked, the broker's
// entries. So workspaces can go on reading Parameter Store, even when it is too slow
// for everything else.
//
// For each token, the main store has a mark of the same name. The mark is written
// before the token and deleted after it, so the main store lists a token even after a
// crash, and List need not ask the other store. A token that was written without this
// package can be read, but is not listed. The mark's version is the token's version.
package split

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// A Main is a store that can store everything except tokens.
type Main interface {
	store.Store
	store.Ledger
	store.Swapper
	store.Indexed
	store.Pager
}

// mark is the main store's entry for a token. No token has this text.
const mark = `{"delivered":true}`

func isMark(e store.Entry) bool { return e.Value.Reveal() == mark }

// A Store is a [Main] whose tokens are in another store. If two writes of a token
// overlap, the token of either may remain.
type Store struct {
	Main   // stores everything else, and the marks
	tokens store.Store
}

// New returns a store that stores entries with [store.Name.IsToken] in tokens, and all
// others in main. It is a [store.Watcher] if main is one, and reports a token when its
// mark is written.
func New(main Main, tokens store.Store) store.Store {
	s := &Store{main, tokens}
	if w, ok := main.(store.Watcher); ok {
		return struct {
			*Store
			store.Watcher
		}{s, w}
	}
	return s
}

// Unwrap returns the main store.
func (s *Store) Unwrap() store.Store { return s.Main }

// Get implements [store.Store]. A mark without its token is a damaged entry. A token
// that main stored before the split is read from main.
func (s *Store) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	there, err := s.Main.Get(ctx, name)
	if !name.IsToken() || err != nil && !errors.Is(err, store.ErrNotFound) {
		return there, err
	}
	// The mark was read first: if the token is newer than that version, a Swap with the
	// version fails.
	entry, tokenErr := s.tokens.Get(ctx, name)
	switch {
	case tokenErr == nil:
		entry.Version = there.Version
		return entry, nil
	case !errors.Is(tokenErr, store.ErrNotFound):
		return store.Entry{}, tokenErr
	case err != nil:
		return store.Entry{}, err
	case isMark(there):
		return store.Entry{}, &usererr.Error{Op: "read " + name.String(), Reason: "the store says that the token was delivered, but the token store does not have it", Err: store.ErrDamaged}
	}
	return there, nil
}

// Put implements [store.Store].
func (s *Store) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	if !name.IsToken() {
		return s.Main.Put(ctx, name, value, mode)
	}
	return s.deliver(ctx, name, value, mode, time.Time{})
}

// PutDue implements [store.Indexed].
func (s *Store) PutDue(ctx context.Context, name store.Name, value store.Secret, mode store.Mode, due time.Time) error {
	if !name.IsToken() {
		return s.Main.PutDue(ctx, name, value, mode, due)
	}
	return s.deliver(ctx, name, value, mode, due)
}

func (s *Store) deliver(ctx context.Context, name store.Name, value store.Secret, mode store.Mode, due time.Time) error {
	if err := value.Check(); err != nil {
		return usererr.Wrap("write "+name.String(), err, "")
	}
	if err := s.Main.PutDue(ctx, name, store.NewSecret(mark), mode, due); err != nil {
		return err
	}
	return s.tokens.Put(ctx, name, value, mode)
}

// Swap implements [store.Swapper]. For a token it compares the mark's version.
func (s *Store) Swap(ctx context.Context, name store.Name, value store.Secret, version string, due time.Time) (string, error) {
	if !name.IsToken() {
		return s.Main.Swap(ctx, name, value, version, due)
	}
	if err := value.Check(); err != nil {
		return "", usererr.Wrap("write "+name.String(), err, "")
	}
	now, err := s.Main.Swap(ctx, name, store.NewSecret(mark), version, due)
	if err != nil {
		return "", err
	}
	return now, s.tokens.Put(ctx, name, value, store.Replace)
}

// Delete implements [store.Store]. It deletes the token first, while the mark still
// lists it.
func (s *Store) Delete(ctx context.Context, name store.Name) error {
	if name.IsToken() {
		if err := s.tokens.Delete(ctx, name); err != nil {
			return err
		}
	}
	return s.Main.Delete(ctx, name)
}

// Due implements [store.Indexed]. A token's mark says when the token is due.
func (s *Store) Due(ctx context.Context, below store.Prefix, before time.Time, limit int) iter.Seq2[store.NamedEntry, error] {
	return func(yield func(store.NamedEntry, error) bool) {
		for e, err := range s.Main.Due(ctx, below, before, limit) {
			if err == nil && e.Name.IsToken() {
				e.Entry, err = s.Get(ctx, e.Name)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

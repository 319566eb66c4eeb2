// Package split keeps the tokens that workspaces read in one store, and everything else in
// another: records, tokens that wait to be revoked, the broker's entries. Thus workspaces
// go on reading Parameter Store, and only they, where it is too slow for all else.
//
// For each token the main store has a mark of the same name, which is written before the
// token and deleted after it. So whatever a crash leaves is listed by the main store
// alone, and listing asks nothing of the other one. Tokens that were written there without
// this package are read, and not listed.
package split

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/store"
)

// A Main is a store that everything but tokens can be kept in.
type Main interface {
	store.Store
	store.Ledger
	store.Swapper
	store.Indexed
	store.Pager
}

// mark is what the main store has in place of a token. It cannot be taken for one.
const mark = `{"delivered":true}`

func isMark(e store.Entry) bool { return e.Value.Reveal() == mark }

// A Store is a [Main] whose tokens are in another store. It swaps no tokens.
type Store struct {
	Main   // keeps all else, and the marks
	tokens store.Store
}

// New returns a store that keeps what [store.Name.IsToken] says in tokens, and all else in
// main. It is a [store.Watcher] where main is one; it tells of a token when its mark is
// written, and not when the token is replaced.
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

// Get implements [store.Store]. A mark without its token is a damaged entry. A token that
// the main store had before there was another one is read from there.
func (s *Store) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	if !name.IsToken() {
		return s.Main.Get(ctx, name)
	}
	entry, err := s.tokens.Get(ctx, name)
	if !errors.Is(err, store.ErrNotFound) {
		return entry, err
	}
	there, mainErr := s.Main.Get(ctx, name)
	switch {
	case errors.Is(mainErr, store.ErrNotFound):
		return store.Entry{}, err
	case mainErr != nil:
		return store.Entry{}, mainErr
	case isMark(there):
		return store.Entry{}, &oneline.Error{What: "read " + name.String(), Why: "it was to be delivered, and is not there", Err: store.ErrDamaged}
	}
	there.Version = ""
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

// deliver writes a token. The main store always has an entry of its name while it does.
func (s *Store) deliver(ctx context.Context, name store.Name, value store.Secret, mode store.Mode, due time.Time) error {
	if err := value.Check(); err != nil {
		return oneline.Wrap("write "+name.String(), err, "")
	}
	there, err := s.Main.Get(ctx, name)
	isNew := errors.Is(err, store.ErrNotFound)
	switch {
	case err != nil && !isNew && !errors.Is(err, store.ErrDamaged):
		return err
	case mode == store.CreateOnly && !isNew:
		return &oneline.Error{What: "write " + name.String(), Err: store.ErrExists}
	}
	if isOld := err == nil && !isMark(there); isOld { // its text is lost only when another one is delivered
		if err := s.tokens.Put(ctx, name, value, mode); err != nil {
			return err
		}
		return s.mark(ctx, name, due)
	}
	if err != nil || !due.IsZero() {
		if err := s.mark(ctx, name, due); err != nil {
			return err
		}
	}
	return s.tokens.Put(ctx, name, value, mode)
}

func (s *Store) mark(ctx context.Context, name store.Name, due time.Time) error {
	return s.Main.PutDue(ctx, name, store.NewSecret(mark), store.Replace, due)
}

// Swap implements [store.Swapper]. It refuses tokens: their store knows no versions.
func (s *Store) Swap(ctx context.Context, name store.Name, value store.Secret, version string, due time.Time) (string, error) {
	if name.IsToken() {
		return "", oneline.New("write "+name.String(), "a token is replaced whatever is there", "")
	}
	return s.Main.Swap(ctx, name, value, version, due)
}

// Delete implements [store.Store]. The token goes first, while its mark shows it.
func (s *Store) Delete(ctx context.Context, name store.Name) error {
	if name.IsToken() {
		if err := s.tokens.Delete(ctx, name); err != nil {
			return err
		}
	}
	return s.Main.Delete(ctx, name)
}

// Due implements [store.Indexed]. The mark of a token says when it is due.
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

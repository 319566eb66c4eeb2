package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// ErrChanged reports that an entry is not the one that was read any more: somebody
// wrote, made or deleted it since.
var ErrChanged = errors.New("the entry was changed meanwhile")

// The interfaces below are optional. A store has one where it can do with one call what
// others need many for; the functions of this package use what there is.

// A Swapper is a Store that writes an entry only if it has not changed since it was read.
type Swapper interface {
	// Swap writes the value if the entry still has the version, and returns the new one.
	// A version is what Get returned with the entry; "" means that there is none yet. In
	// any other case it returns an error that wraps ErrChanged and changes nothing; an
	// error of any other kind leaves open whether the entry was written. A store that is
	// Indexed writes down due as PutDue does; others ignore it. The zero time means never.
	Swap(ctx context.Context, name Name, value Secret, version string, due time.Time) (string, error)
}

// An Indexed store knows when its entries are due: a record to be refreshed, and every
// other entry to be deleted.
type Indexed interface {
	// PutDue is Put, and writes down when the entry is due. Put means never, as the zero
	// time does.
	PutDue(ctx context.Context, name Name, value Secret, mode Mode, due time.Time) error

	// Due yields the entries below the prefix that are due before the time, the earliest
	// first, and at most limit of them where limit is above 0. It reads no others. An
	// error with a name is about that entry, and the others follow; one without ends it.
	Due(ctx context.Context, below Prefix, before time.Time, limit int) iter.Seq2[NamedEntry, error]
}

// A Pager is a Store that lists names in the order of their text, a part at a time.
type Pager interface {
	// Page returns the next names below the prefix that come after a name, at most
	// limit; the zero Name means from the beginning. Fewer than limit are the last.
	Page(ctx context.Context, below Prefix, after Name, limit int) ([]Name, error)
}

// A Watcher is a Store that says when something was written or deleted.
type Watcher interface {
	// Watch calls changed when it has begun to watch, and each time that something below
	// the prefix may have changed, also after it was out of touch with the store for a
	// while, until ctx ends. It returns why it ended. Calls of changed do not overlap.
	Watch(ctx context.Context, below Prefix, changed func()) error
}

// A Deleter is a Store that deletes several entries with one call.
type Deleter interface {
	// DeleteAll is Delete of each of the names. After an error some may be deleted.
	DeleteAll(ctx context.Context, names []Name) error
}

// DeleteAll deletes entries, with few calls where the store is a Deleter. It ends at the
// first error.
func DeleteAll(ctx context.Context, s Store, names []Name) error {
	if deleter, ok := s.(Deleter); ok {
		return deleter.DeleteAll(ctx, names)
	}
	for _, name := range names {
		if err := s.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// PutDue is Put of a store, and writes down when the entry is due where the store is
// Indexed.
func PutDue(ctx context.Context, s Store, name Name, value Secret, mode Mode, due time.Time) error {
	if indexed, ok := s.(Indexed); ok {
		return indexed.PutDue(ctx, name, value, mode, due)
	}
	return s.Put(ctx, name, value, mode)
}

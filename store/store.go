// Package store stores the secrets and records of the issuing side: the App's
// credentials, the tokens that workspaces read, and the ledger of live tokens.
//
// The interface is in this package, not in a consumer, because there are three
// consumers (package workspace, the broker, and the commands that set up an App), and
// because the adapters are linked into the agent, which must not link YAML and policy
// code. The adapters are Store in credential/filestore, store/kubernetes,
// store/postgres, store/dynamodb, credential/ssmstore and credential/vaultstore;
// package storetest tests what they have in common.
package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepass/gatepass/internal/secret"
)

// MaxValue bounds a value, in bytes: what the larger tier of AWS's Parameter
// Store takes (https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html).
const MaxValue = 8 << 10

// Outcomes that callers branch on. Errors of a Store wrap them.
var (
	ErrNotFound = errors.New("there is no such entry")
	ErrExists   = errors.New("an entry of that name exists already")
	// ErrDamaged reports an entry whose content no Put wrote: another program wrote it,
	// or a part of it is lost. It can be replaced and deleted.
	ErrDamaged = errors.New("the entry is damaged")
)

// A Store stores secrets by name. Its methods may be called concurrently. Their errors
// are for people: one line, without any value.
type Store interface {
	// Get returns the entry, or an error that wraps ErrNotFound or ErrDamaged.
	Get(ctx context.Context, name Name) (Entry, error)

	// Put writes the entry, completely or not at all. With CreateOnly, if the entry
	// exists, Put changes nothing and returns an error that wraps ErrExists. After any
	// other error the entry may or may not have been written.
	Put(ctx context.Context, name Name, value Secret, mode Mode) error

	// Delete removes the entry. Deleting a missing entry is not an error. Afterwards no
	// earlier value of the entry can be read.
	Delete(ctx context.Context, name Name) error

	// List yields the names below the prefix, at any depth and in any order. The first
	// error ends it. It skips entries whose names are not of this layout.
	List(ctx context.Context, below Prefix) iter.Seq2[Name, error]
}

// A Ledger is a Store that finds the records of all workspaces with fewer calls than
// List and Get.
type Ledger interface {
	// Records yields the same as [Records].
	Records(ctx context.Context) iter.Seq2[NamedEntry, error]
}

// A Preparer is a Store that makes something, such as a key, before it stores a
// workspace's first secret. It deletes that with the workspace's record.
type Preparer interface {
	// Prepare may be called again at any time. Put calls it too. A caller that is about
	// to mint a secret calls Prepare first, so that it mints none that cannot be
	// stored.
	Prepare(ctx context.Context, workspace string) error
}

// A NamedEntry is an entry and its name.
type NamedEntry struct {
	Name Name
	Entry
}

// Records yields the ledger record of every workspace, in any order. It may leave out a
// record that is deleted in the meantime. An error with a name is about that record,
// and more records follow. An error without a name is the last.
func Records(ctx context.Context, s Store) iter.Seq2[NamedEntry, error] {
	if ledger, ok := s.(Ledger); ok {
		return ledger.Records(ctx)
	}
	return func(yield func(NamedEntry, error) bool) {
		for name, err := range s.List(ctx, Workspaces()) {
			if err == nil && !name.IsRecord() {
				continue
			}
			var entry Entry
			if err == nil {
				entry, err = s.Get(ctx, name)
			}
			if errors.Is(err, ErrNotFound) {
				continue
			}
			// On a disk, one file may be unreadable while the others are readable.
			if !yield(NamedEntry{name, entry}, err) || err != nil && (name.IsZero() || ctx.Err() != nil) {
				return
			}
		}
	}
}

// An Entry is the content stored under a name.
type Entry struct {
	Value    Secret
	Modified time.Time // when it was last written, by the store's clock
	Version  string    // changes with every write; "" if the store is not a Swapper
}

// Mode says whether Put may replace an entry. The zero Mode does not.
type Mode int

// The modes.
const (
	CreateOnly Mode = iota
	Replace
)

// A Secret is a value that does not print itself: fmt, slog, JSON and text encodings
// show a placeholder. Only Reveal returns the text.
type Secret struct{ secret.Text }

// NewSecret returns a Secret with a text.
func NewSecret(text string) Secret { return Secret{secret.New(text)} }

// Check returns an error for a value that some store cannot hold: an empty value, one
// of more than MaxValue bytes, and one that is not text.
func (s Secret) Check() error {
	switch text := s.Reveal(); {
	case text == "":
		return errors.New("the value is empty")
	case len(text) > MaxValue:
		return fmt.Errorf("the value has %d bytes, more than the %d that every store accepts", len(text), MaxValue)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return errors.New("the value is not text")
	}
	return nil
}

// ErrChanged reports that an entry was written, created or deleted after it was read.
var ErrChanged = errors.New("another writer has changed the entry")

// The interfaces below are optional. A store implements one if it needs only one call
// where other stores need many. The functions of this package use it if they can.

// A Swapper is a Store that writes an entry only if it has not changed since it was read.
type Swapper interface {
	// Swap writes the value if the entry still has the version, and returns the new
	// version. A version comes from Get; "" means that the entry does not exist. If the
	// entry has another version, Swap changes nothing and returns an error that wraps
	// ErrChanged. After any other error the entry may or may not have been written. An
	// Indexed store records due as PutDue does; others ignore it. The zero time means
	// never.
	Swap(ctx context.Context, name Name, value Secret, version string, due time.Time) (string, error)
}

// An Indexed store knows when its entries are due. A due record must be refreshed;
// every other due entry may be deleted.
type Indexed interface {
	// PutDue is Put, and records when the entry is due. The zero time means never. Put
	// also means never.
	PutDue(ctx context.Context, name Name, value Secret, mode Mode, due time.Time) error

	// Due yields the entries below the prefix that are due before the time, earliest
	// first; if limit is above 0, at most limit of them. It reads no other entries. An
	// error with a name is about that entry, and more entries follow; an error without
	// a name is the last.
	Due(ctx context.Context, below Prefix, before time.Time, limit int) iter.Seq2[NamedEntry, error]
}

// A Pager is a Store that lists names in the order of their text, page by page.
type Pager interface {
	// Page returns up to limit names below the prefix that come after a name; the zero
	// Name means from the beginning. If it returns fewer than limit, they are the last.
	Page(ctx context.Context, below Prefix, after Name, limit int) ([]Name, error)
}

// A Watcher is a Store that reports when something was written or deleted.
type Watcher interface {
	// Watch calls changed when it has begun to watch, and each time that something
	// below the prefix may have changed, also after it lost contact with the store for
	// a while. It runs until ctx ends, and returns why it ended. Calls of changed do
	// not overlap.
	Watch(ctx context.Context, below Prefix, changed func()) error
}

// A Deleter is a Store that deletes several entries with one call.
type Deleter interface {
	// DeleteAll deletes each of the names. After an error some may be deleted.
	DeleteAll(ctx context.Context, names []Name) error
}

// DeleteAll deletes entries, with few calls if the store is a Deleter. It ends at the
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

// PutDue calls PutDue of an Indexed store, and Put of any other, which does not record
// when the entry is due.
func PutDue(ctx context.Context, s Store, name Name, value Secret, mode Mode, due time.Time) error {
	if indexed, ok := s.(Indexed); ok {
		return indexed.PutDue(ctx, name, value, mode, due)
	}
	return s.Put(ctx, name, value, mode)
}

type urgentKey struct{}

// Urgently returns a context for calls of a store that take precedence over others: a
// block, and the reads that find it. A store that allows few calls a second makes other
// calls wait.
func Urgently(ctx context.Context) context.Context {
	return context.WithValue(ctx, urgentKey{}, true)
}

// IsUrgent reports whether ctx comes from [Urgently].
func IsUrgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }

type pauseKey struct{}

// WithPause returns a context for a list. A store that needs several calls for the list
// calls pause between two of them, with the time that the first one took. If pause
// returns an error, the list ends with it.
func WithPause(ctx context.Context, pause func(took time.Duration) error) context.Context {
	return context.WithValue(ctx, pauseKey{}, pause)
}

// Pause is what a store calls between two calls for a list; see [WithPause]. took is the
// time that the first one took.
func Pause(ctx context.Context, took time.Duration) error {
	pause, ok := ctx.Value(pauseKey{}).(func(time.Duration) error)
	if !ok {
		return nil
	}
	return pause(took)
}

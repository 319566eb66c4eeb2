// Package store is where the issuing side keeps things: the App's credentials,
// the tokens that workspaces read, and the ledger of what is alive.
//
// It is a leaf with three consumers (package workspace, the broker, and the
// commands that set up an App), and its adapters are linked into the agent as
// well, which must not carry YAML and policy because of an interface. Thus the
// interface is here and not in one of its consumers. The adapters are Store in
// credential/filestore, store/kubernetes, store/postgres, store/dynamodb,
// credential/ssmstore and credential/vaultstore; what they have in common is tested by
// package storetest.
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
	ErrExists   = errors.New("there is an entry of that name already")
	// ErrDamaged reports an entry that is there without what a Put wrote: somebody
	// else made it, or half of it is lost. It can be replaced and deleted.
	ErrDamaged = errors.New("the entry is damaged")
)

// A Store keeps secrets by name. Its methods may be called concurrently. Their
// errors are for people: one line, without any value.
type Store interface {
	// Get returns the entry, or an error that wraps ErrNotFound or ErrDamaged.
	Get(ctx context.Context, name Name) (Entry, error)

	// Put writes the entry, whole or not at all. With CreateOnly it returns an
	// error that wraps ErrExists, and changes nothing, where there is one. An
	// error of any other kind leaves open whether the entry was written.
	Put(ctx context.Context, name Name, value Secret, mode Mode) error

	// Delete removes the entry; one that is not there is as good as removed.
	// No earlier value of it can be read afterwards.
	Delete(ctx context.Context, name Name) error

	// List yields the names below the prefix, at any depth and in no order
	// that means anything. The first error ends it. What is there under names
	// that are not of this layout is passed over.
	List(ctx context.Context, below Prefix) iter.Seq2[Name, error]
}

// A Ledger is a Store that finds the records of all workspaces with fewer calls
// than List and Get take.
type Ledger interface {
	// Records yields what [Records] does.
	Records(ctx context.Context) iter.Seq2[NamedEntry, error]
}

// A Preparer is a Store that has to make something before a workspace's first secret
// is kept, such as a key. It takes that away with the workspace's record.
type Preparer interface {
	// Prepare may be called again at any time. Put calls it as well; whoever is about to
	// have a secret made calls it first, so that none is made that cannot be kept.
	Prepare(ctx context.Context, workspace string) error
}

// A NamedEntry is an entry and where it is kept.
type NamedEntry struct {
	Name Name
	Entry
}

// Records yields the ledger record of every workspace, in no order that means
// anything. One that is deleted meanwhile may be left out. An error that comes with
// a name is about that record, and the others follow; one without ends it.
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
			// On a disk, what cannot be read of one file says nothing of the others.
			if !yield(NamedEntry{name, entry}, err) || err != nil && (name.IsZero() || ctx.Err() != nil) {
				return
			}
		}
	}
}

// An Entry is what is kept under a name.
type Entry struct {
	Value    Secret
	Modified time.Time // when it was last written, by the store's clock
	Version  string    // changes with every write; "" where the store is no Swapper
}

// Mode says whether Put may replace an entry. The zero Mode does not.
type Mode int

// The modes.
const (
	CreateOnly Mode = iota
	Replace
)

// A Secret is a value that does not print itself: fmt, slog, JSON and text
// encodings show a placeholder. Reveal is the one way to the text.
type Secret struct{ secret.Text }

// NewSecret holds text.
func NewSecret(text string) Secret { return Secret{secret.New(text)} }

// Check returns an error for what not every store can keep: nothing, more than
// MaxValue bytes, and what is not text.
func (s Secret) Check() error {
	switch text := s.Reveal(); {
	case text == "":
		return errors.New("the value is empty")
	case len(text) > MaxValue:
		return fmt.Errorf("the value is %d bytes long, more than the %d that every store takes", len(text), MaxValue)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return errors.New("the value is not text")
	}
	return nil
}

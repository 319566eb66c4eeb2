// Package ledger remembers the live tokens of each Token and ClusterToken, so that they
// can be delivered again, and revoked after their object is gone.
//
// There is a Secret for each object in the operator's own namespace. The texts of the
// tokens in it are sealed with a key of the operator (AES-256-GCM), which protects
// them from a reader of that Secret alone, and not from a reader of all Secrets there.
// No object has a finalizer: neither an outage nor an uninstall holds a namespace.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/operator/once"
)

// An Owner is the object that a record is about.
type Owner struct {
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace,omitempty"` // empty for a ClusterToken
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
}

// Key is an Owner without its UID: objects that were deleted and made again share it.
type Key struct{ Kind, Namespace, Name string }

// Key returns the owner's.
func (o Owner) Key() Key { return Key{o.Kind, o.Namespace, o.Name} }

// An Entry is one token that GitHub made.
type Entry struct {
	ID      string    `json:"id"`    // base64(sha256(token)), as in GitHub's audit log
	Scope   string    `json:"scope"` // digest of what it may do
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	API     string    `json:"api"` // the REST API that made it, and that revokes it
	Account string    `json:"account,omitempty"`

	// What GitHub granted; kept for the two newest tokens only.
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`

	Sealed []byte `json:"sealed"` // the token's text
}

var levels once.Maps[string]

// share keeps what many tokens have alike once.
func (e *Entry) share() {
	e.Scope, e.API, e.Account = once.Text(e.Scope), once.Text(e.API), once.Text(e.Account)
	e.Repositories, e.Permissions = once.Texts(e.Repositories), levels.One(e.Permissions)
}

// ErrUnknown reports that the ledger has no such token, or cannot open it: the key that
// sealed it is gone.
var ErrUnknown = errors.New("the token is not in the ledger")

// A Ledger is used by one process at a time: the leader.
type Ledger struct {
	secrets client.Client // not cached for Secrets
	where   string
	seal    *seal

	// Broken says which records could not be read by Open. Their tokens run out by
	// themselves.
	Broken []error

	mu      sync.Mutex // guards the rest
	records map[types.UID]*record
	byKey   map[Key][]types.UID
}

type record struct {
	owner   Owner
	entries []Entry // newest first
	version string  // the Secret's resourceVersion; empty before the first write
	isDirty bool    // a write failed
}

// Of returns what is known of an object's tokens, newest first.
func (l *Ledger) Of(uid types.UID) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.records[uid]; r != nil {
		return slices.Clone(r.entries)
	}
	return nil
}

// Has reports that there is a record of an object, even if no token is in it.
func (l *Ledger) Has(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[uid] != nil
}

// Owners returns the objects that have a record and are, or were, called key.
func (l *Ledger) Owners(key Key) []Owner {
	l.mu.Lock()
	defer l.mu.Unlock()
	var owners []Owner
	for _, uid := range l.byKey[key] {
		owners = append(owners, l.records[uid].owner)
	}
	return owners
}

// Keys returns the keys of all records, sorted.
func (l *Ledger) Keys() []Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Keys(l.byKey), func(a, b Key) int {
		return slices.Compare([]string{a.Kind, a.Namespace, a.Name}, []string{b.Kind, b.Namespace, b.Name})
	})
}

// Add records a token. When the write fails the token is kept in memory, and Save
// tries again: what GitHub made is never forgotten while the process lives. now is the
// time by GitHub's clock, as it is for the other methods.
func (l *Ledger) Add(ctx context.Context, owner Owner, e Entry, token credential.Token, now time.Time) error {
	e.ID = token.Hash()
	e.Sealed = l.seal.seal(token.Secret(), owner.UID, e.ID)
	l.mu.Lock()
	r := l.records[owner.UID]
	if r == nil {
		r = &record{}
		l.records[owner.UID] = r
		l.byKey[owner.Key()] = append(l.byKey[owner.Key()], owner.UID)
	}
	r.owner = owner
	e.share()
	r.entries = append([]Entry{e}, r.entries...)
	r.isDirty = true
	l.mu.Unlock()
	return l.Save(ctx, owner.UID, now)
}

// Token returns the text of a recorded token. The error wraps ErrUnknown where it
// cannot be opened.
func (l *Ledger) Token(uid types.UID, id string) (credential.Token, error) {
	for _, e := range l.Of(uid) {
		if e.ID != id {
			continue
		}
		text, err := l.seal.open(e.Sealed, uid, id)
		if err != nil {
			return credential.Token{}, err
		}
		token := credential.NewToken(text, e.Expires)
		if token.Hash() != id {
			return credential.Token{}, fmt.Errorf("open the record of %s: %w", uid, ErrUnknown)
		}
		return token, nil
	}
	return credential.Token{}, ErrUnknown
}

// Drop removes a token from an object's record: it was revoked.
func (l *Ledger) Drop(ctx context.Context, uid types.UID, id string, now time.Time) error {
	l.mu.Lock()
	r := l.records[uid]
	if r == nil {
		l.mu.Unlock()
		return nil
	}
	r.entries = slices.DeleteFunc(slices.Clone(r.entries), func(e Entry) bool { return e.ID == id })
	r.isDirty = true
	l.mu.Unlock()
	return l.Save(ctx, uid, now)
}

// Dirty reports that the latest write of a record failed.
func (l *Ledger) Dirty(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[uid]
	return r != nil && r.isDirty
}

// Forget deletes the record of an object.
func (l *Ledger) Forget(ctx context.Context, uid types.UID) error {
	if err := l.delete(ctx, uid); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[uid]
	if r == nil {
		return nil
	}
	key := r.owner.Key()
	delete(l.records, uid)
	l.byKey[key] = slices.DeleteFunc(l.byKey[key], func(u types.UID) bool { return u == uid })
	if len(l.byKey[key]) == 0 {
		delete(l.byKey, key)
	}
	return nil
}

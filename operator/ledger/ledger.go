// Package ledger records the live tokens of each Token and ClusterToken, so that the
// operator can deliver them again, and revoke them after their object is deleted.
//
// Each object has one Secret in the operator's own namespace. The token texts in it are
// sealed with a key of the operator (AES-256-GCM). The seal protects them from a reader
// of that one Secret, but not from a reader of all Secrets in the namespace. Objects
// have no finalizer, so neither an outage nor an uninstall blocks the deletion of a
// namespace.
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
	"github.com/gatepass/gatepass/operator/intern"
)

// An Owner is the object that a record belongs to.
type Owner struct {
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace,omitempty"` // empty for a ClusterToken
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
}

// Key is an Owner without its UID. An object that is deleted and created again has the
// same Key.
type Key struct{ Kind, Namespace, Name string }

// Key returns the owner's Key.
func (o Owner) Key() Key { return Key{o.Kind, o.Namespace, o.Name} }

// An Entry is one token that GitHub made.
type Entry struct {
	ID      string    `json:"id"`    // base64(sha256(token)), as in GitHub's audit log
	Scope   string    `json:"scope"` // digest of the token's access
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	API     string    `json:"api"` // base URL of the REST API that made the token and that revokes it
	Account string    `json:"account,omitempty"`

	// The access that GitHub granted; recorded for the two newest tokens only.
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`

	Sealed []byte `json:"sealed"` // the token's text
}

var levels intern.Maps[string]

// share replaces values that many tokens have in common by shared copies.
func (e *Entry) share() {
	e.Scope, e.API, e.Account = intern.String(e.Scope), intern.String(e.API), intern.String(e.Account)
	e.Repositories, e.Permissions = intern.Strings(e.Repositories), levels.Intern(e.Permissions)
}

// ErrUnknown reports that the ledger has no such token, or that it cannot open the
// token because the key that sealed it is lost.
var ErrUnknown = errors.New("the token is not in the ledger")

// A Ledger stores the records of tokens. Only one process may use it at a time: the
// leader.
type Ledger struct {
	secrets client.Client // does not cache Secrets
	where   string
	seal    *seal

	// Broken lists the records that Open could not read. Their tokens expire by
	// themselves.
	Broken []error

	mu      sync.Mutex // guards the rest
	records map[types.UID]*record
	byKey   map[Key][]types.UID
}

type record struct {
	owner   Owner
	entries []Entry // newest first
	version string  // resourceVersion of the Secret; empty before the first write
	isDirty bool    // the latest write failed
}

// Of returns the recorded tokens of an object, newest first.
func (l *Ledger) Of(uid types.UID) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.records[uid]; r != nil {
		return slices.Clone(r.entries)
	}
	return nil
}

// Has reports whether an object has a record, even one without tokens.
func (l *Ledger) Has(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[uid] != nil
}

// Owners returns the owners of all records whose key is key: the object of that name,
// and deleted objects that had the name.
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

// Add records a token. If the write fails, the token stays in memory and Save writes it
// later, so that no token is forgotten while the process lives. now is the time by
// GitHub's clock, as in the other methods.
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

// Token returns the text of a recorded token. The error wraps ErrUnknown if it cannot
// be opened.
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

// Drop removes a revoked token from an object's record.
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

// Dirty reports whether the latest write of a record failed.
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

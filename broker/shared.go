package broker

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

const (
	// freshLife is what a token has left when its last quarter begins. Replicas use each
	// other's tokens while they have more.
	freshLife = credential.Lifetime / freshPart
	// slotLife is how long a scope's token has one name. A token in its last quarter is older,
	// so its successor has another name.
	slotLife = credential.Lifetime - freshLife
	// claimLife is how long one replica may take to mint: mintTimeout plus the difference
	// between the clocks of replicas.
	claimLife = mintTimeout + 5*time.Second
	// sharePatience is how long a replica waits for another's mint before it mints
	// itself.
	sharePatience = 5 * time.Second
	// shareLook is the time between two reads while waiting: at first, and at most.
	shareLook, maxShareLook = 100 * time.Millisecond, time.Second
)

// A Shared shares tokens between replicas through the store: one of the replicas that need a
// token of a scope mints it. A stored token is used only if it has exactly that scope, is not
// revoked, and is not in its last quarter.
//
// A scope's token has a name that every replica can compute, a new one every 45 minutes. The
// replica that creates the entry mints; the others wait briefly.
//
// Tokens of a single workspace are not shared: few replicas need them, and the entries would
// cost more than the mints. The store only records that the account has such tokens.
type Shared struct {
	Store store.Store
	// Marked reports whether a token is marked as revoked; see [Blocklist.Marked].
	Marked func(context.Context, credential.Token) (bool, error)
	Now    func() time.Time // the clock by which tokens expire; nil means time.Now

	apart sync.Map // by account, the name of the store.Unshared marker that was written
}

func (s *Shared) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// sharedToken is the stored form. [ReadVended] reads it as well.
type sharedToken struct {
	vendedToken
	Scope string `json:"scope"` // its Key
}

// found is the store's entry under a name.
type found struct {
	name  store.Name
	token credential.Token // zero if there is none to use
	// mark identifies the current content; "" if there is none.
	mark string
	// claimed is when another replica's claim to mint ends; zero if there is none.
	claimed time.Time
	// live is a working token that lasts too short to be used; zero if there is none.
	live credential.Token
}

// Find returns another replica's token that lasts longer than least, else the zero Token.
func (s *Shared) Find(ctx context.Context, scope Scope, least time.Duration) (credential.Token, error) {
	if scope.isOwn() {
		return credential.Token{}, nil
	}
	f, err := s.find(ctx, scope, least)
	return f.token, err
}

// find looks under the scope's current name, and under the previous one if no replica is
// minting.
func (s *Shared) find(ctx context.Context, scope Scope, least time.Duration) (found, error) {
	now := s.now()
	f, err := s.look(ctx, scope, now, least)
	if err != nil || !f.token.IsZero() || !f.claimed.IsZero() {
		return f, err
	}
	before, err := s.look(ctx, scope, now.Add(-slotLife), least)
	if err != nil || !before.token.IsZero() {
		return before, err
	}
	return f, nil
}

// look reads the entry under the scope's name at a moment.
func (s *Shared) look(ctx context.Context, scope Scope, at time.Time, least time.Duration) (found, error) {
	name, err := slotName(scope, at)
	if err != nil {
		return found{}, err
	}
	return s.read(ctx, name, scope, least)
}

// slotName is the scope's name at a moment. Scopes change names at different times, so that
// tokens are not all replaced together.
func slotName(scope Scope, at time.Time) (store.Name, error) {
	sum := sha256.Sum256([]byte(scope.Key()))
	const length = int64(slotLife / time.Second)
	shift := int64(binary.BigEndian.Uint32(sum[16:])) % length
	since := (at.Unix() + shift) % length
	ends := time.Unix(at.Unix()-since, 0).Add(slotLife + credential.Lifetime)
	return scope.nameOf(sum, ends)
}

// ownName is a name where other replicas do not look for a token.
func ownName(scope Scope, t credential.Token) (store.Name, error) {
	return scope.nameOf(sha256.Sum256([]byte("token "+t.Secret())), t.Expiry)
}

// nameOf makes a name below the scope's repository, or below no repository if that may have
// been renamed.
func (s Scope) nameOf(sum [sha256.Size]byte, ends time.Time) (store.Name, error) {
	repository := s.Repo.Name
	if s.AnyName {
		repository = ""
	}
	return store.Shared(s.Repo.Owner, repository, [16]byte(sum[:16]), ends)
}

// SharedEntries lists the entries that may hold a token for the repositories of an account,
// or for all if none is named, and the markers of [store.Unshared].
func SharedEntries(ctx context.Context, s store.Store, owner string, repositories ...string) ([]store.Name, error) {
	below, err := store.SharedOf(owner)
	if err != nil {
		return nil, err
	}
	isMeant := map[string]bool{store.RepositoryKey(""): true}
	for _, repository := range repositories {
		isMeant[store.RepositoryKey(repository)] = true
	}
	var names []store.Name
	for name, err := range s.List(ctx, below) {
		if err != nil {
			return nil, err
		}
		if len(repositories) == 0 || isMeant[name.SharedKey()] || name.IsUnshared() {
			names = append(names, name)
		}
	}
	return names, nil
}

// read reads an entry. Content that is not a token of the scope is ignored without an error.
func (s *Shared) read(ctx context.Context, name store.Name, scope Scope, least time.Duration) (found, error) {
	f := found{name: name}
	entry, err := s.Store.Get(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return f, nil
	case errors.Is(err, store.ErrDamaged):
		f.mark = "damaged"
		return f, nil
	case err != nil:
		return f, err
	}
	f.mark = entry.Value.Reveal()
	if until, err := store.ClaimedUntil(entry); err == nil {
		if clock.Left(until, s.now()) > 0 {
			f.claimed = until
		}
		return f, nil
	}
	t, ok := sharedOf(entry, scope)
	left := clock.Left(t.Expiry, s.now())
	if !ok || left <= 0 || isLongerThan(name, t) {
		return f, nil
	}
	isMarked, err := s.Marked(ctx, t)
	switch {
	case err != nil || isMarked:
	case left > least:
		f.token = t
	default:
		f.live = t
	}
	return f, err
}

// isLongerThan reports whether a token expires later than its name allows.
func isLongerThan(name store.Name, t credential.Token) bool {
	ends, ok := name.Ends()
	return !ok || t.Expiry.After(ends.Add(store.TokenGrace))
}

// sharedOf parses a token that opens exactly the scope.
func sharedOf(entry store.Entry, scope Scope) (t credential.Token, ok bool) {
	var said sharedToken
	if json.Unmarshal([]byte(entry.Value.Reveal()), &said) != nil || credential.CheckSecret(said.Token) != nil {
		return t, false
	}
	t = credential.NewToken(said.Token, said.ExpiresAt)
	t.Repositories, t.RepositoryIDs, t.Permissions, t.App = said.Repositories, said.IDs, said.Permissions, said.App
	return t, said.Scope == scope.Key() && opens(t, scope)
}

// opens reports whether GitHub's description of a token equals the scope.
func opens(t credential.Token, scope Scope) bool {
	if len(t.Repositories) != 1 || len(t.RepositoryIDs) != 1 {
		return false
	}
	isNamed := scope.AnyName || strings.EqualFold(t.Repositories[0], scope.Repo.String())
	isMeant := scope.RepositoryID() == 0 || scope.RepositoryID() == t.RepositoryIDs[0]
	asked := scope.Grant.Permissions
	isGranted := t.Permissions != nil && len(asked.Wider(t.Permissions)) == 0 && len(mint.Lacking(asked.Levels(), t.Permissions)) == 0
	return isNamed && isMeant && isGranted
}

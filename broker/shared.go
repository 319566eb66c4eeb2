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
	// shareTimeout is how long a replica waits for another's mint before it mints
	// itself.
	shareTimeout = 5 * time.Second
	// sharePoll is the time between two reads while waiting: at first, and at most.
	sharePoll, maxSharePoll = 100 * time.Millisecond, time.Second
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
	// Marked reports whether a token is marked as revoked; see [blocklist.List.Marked].
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

// Get returns a token that lasts longer than least and is not in its last quarter: another
// replica's, else a new one by mint. isOld reports that it was minted earlier.
func (s *Shared) Get(ctx context.Context, scope Scope, least time.Duration, mint MintFunc) (t credential.Token, isOld bool, err error) {
	if scope.isOwn() {
		m, err := mint(ctx, scope)
		return m.Token, false, err
	}
	least = max(least, freshLife)
	f, err := s.find(ctx, scope, least)
	if err != nil {
		return t, false, StoreUnavailable(err)
	}
	if !f.token.IsZero() {
		return f.token, true, nil
	}
	claim, won, err := s.claim(ctx, scope, f)
	switch {
	case err != nil:
		return t, false, StoreUnavailable(err)
	case won:
		scope.publishAs = place{f.name, f.live}
	default:
		if t, err = s.await(ctx, f.name, scope, least); err != nil || !t.IsZero() {
			return t, true, err
		}
	}
	m, err := mint(ctx, scope)
	if err != nil && won {
		s.release(ctx, claim)
	}
	return m.Token, false, err
}

// Find returns another replica's token that lasts longer than least, else the zero Token.
func (s *Shared) Find(ctx context.Context, scope Scope, least time.Duration) (credential.Token, error) {
	if scope.isOwn() {
		return credential.Token{}, nil
	}
	f, err := s.find(ctx, scope, least)
	return f.token, err
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

// place is where a new token is published. The zero place is one that no replica searches.
type place struct {
	name  store.Name
	aside credential.Token // a working token under that name, to be stored elsewhere; zero if there is none
}

// find looks under the scope's current name, and under the previous one if no replica is
// minting.
func (s *Shared) find(ctx context.Context, scope Scope, least time.Duration) (found, error) {
	now := s.now()
	f, err := s.readAt(ctx, scope, now, least)
	if err != nil || !f.token.IsZero() || !f.claimed.IsZero() {
		return f, err
	}
	before, err := s.readAt(ctx, scope, now.Add(-slotLife), least)
	if err != nil || !before.token.IsZero() {
		return before, err
	}
	return f, nil
}

// readAt reads the entry under the scope's name at a moment.
func (s *Shared) readAt(ctx context.Context, scope Scope, at time.Time, least time.Duration) (found, error) {
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

// claim creates the entry that lets one replica mint, and reports whether this call created
// it.
func (s *Shared) claim(ctx context.Context, scope Scope, f found) (name store.Name, won bool, err error) {
	if !f.claimed.IsZero() {
		return f.name, false, nil
	}
	if name, err = claimName(scope, f); err != nil {
		return name, false, err
	}
	won, err = store.Claim(ctx, s.Store, name, s.now().Add(claimLife))
	if err != nil || won || name == f.name {
		return name, won, err
	}
	// Another replica claimed this name because the content of f.name was useless to it. If
	// that claim has ended, this replica mints, and others may as well.
	entry, err := s.Store.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return name, false, nil
	}
	if err != nil {
		return name, false, err
	}
	until, err := store.ClaimedUntil(entry)
	return name, err != nil || clock.Left(until, s.now()) <= 0, nil
}

// claimName is the name to claim: the token's own if it is free, else one derived from the
// useless content there.
func claimName(scope Scope, f found) (store.Name, error) {
	if f.mark == "" {
		return f.name, nil
	}
	sum := sha256.Sum256([]byte("instead of " + f.mark + " in " + f.name.String()))
	ends, _ := f.name.Ends()
	return scope.nameOf(sum, ends)
}

// release deletes a claim, so that no replica waits for it. If that fails, the claim ends
// after claimLife.
func (s *Shared) release(ctx context.Context, claim store.Name) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shareTimeout)
	defer cancel()
	_ = s.Store.Delete(ctx, claim)
}

// await waits for the token that another replica mints. The zero Token means that this
// replica must mint.
func (s *Shared) await(ctx context.Context, name store.Name, scope Scope, least time.Duration) (credential.Token, error) {
	patience := time.NewTimer(shareTimeout)
	defer patience.Stop()
	for pause := sharePoll; ; pause = min(2*pause, maxSharePoll) {
		select {
		case <-ctx.Done():
			return credential.Token{}, StoreUnavailable(ctx.Err())
		case <-patience.C:
			return credential.Token{}, nil
		case <-time.After(pause):
		}
		f, err := s.read(ctx, name, scope, least)
		if err != nil {
			return credential.Token{}, StoreUnavailable(err)
		}
		if !f.token.IsZero() || f.mark == "" { // it was published, or that replica failed
			return f.token, nil
		}
	}
}

// published puts new tokens into the store before they are vended, for other replicas and for
// revocation. If the store fails, it returns the token with the error.
func published(shared *Shared, next MintFunc) MintFunc {
	if shared == nil {
		return next
	}
	return func(ctx context.Context, s Scope) (mint.Minted, error) {
		m, err := next(ctx, s)
		if err != nil {
			return m, err
		}
		if err := shared.put(ctx, s, m.Token); err != nil {
			return m, StoreUnavailable(err)
		}
		return m, nil
	}
}

// put stores a new token. A working token under that name is first stored under another one.
func (s *Shared) put(ctx context.Context, scope Scope, t credential.Token) error {
	if scope.isOwn() {
		return s.setApart(ctx, scope.Repo.Owner)
	}
	to := scope.publishAs
	if to.name.IsZero() {
		return s.putReplacement(ctx, scope, t)
	}
	if !to.aside.IsZero() {
		if err := s.putReplacement(ctx, scope, to.aside); err != nil {
			return err
		}
	}
	ends, _ := to.name.Ends()
	return s.write(ctx, to.name, scope, t, store.Replace, ends)
}

// setApart records, once in 45 minutes, that an account has tokens that are not shared.
func (s *Shared) setApart(ctx context.Context, owner string) error {
	ends := s.now().Truncate(slotLife).Add(2*slotLife + credential.Lifetime)
	name, err := store.Unshared(owner, ends)
	if err != nil {
		return err
	}
	if there, _ := s.apart.Load(owner); there == name {
		return nil
	}
	if _, err = store.Claim(ctx, s.Store, name, ends); err == nil {
		s.apart.Store(owner, name)
	}
	return err
}

// putReplacement stores a token where only revocation finds it.
func (s *Shared) putReplacement(ctx context.Context, scope Scope, t credential.Token) error {
	name, err := ownName(scope, t)
	if err != nil {
		return err
	}
	err = s.write(ctx, name, scope, t, store.CreateOnly, t.Expiry)
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

func (s *Shared) write(ctx context.Context, name store.Name, scope Scope, t credential.Token, mode store.Mode, ends time.Time) error {
	text, err := json.Marshal(sharedToken{vendedOf(Workspace{}, t), scope.Key()})
	if err != nil {
		return err
	}
	return store.PutDue(ctx, s.Store, name, store.NewSecret(string(text)), mode, ends.Add(store.TokenGrace))
}

// newShared returns the Shared of a store. It returns nil if the store encrypts shared tokens
// with another key than a workspace's tokens: more users may have access to that key.
func newShared(s store.Store, marked func(context.Context, credential.Token) (bool, error), now func() time.Time) *Shared {
	if keyed, ok := s.(interface{ KeyOf(store.Name) string }); ok {
		own, err := store.Vended("w", [8]byte{}, time.Time{})
		all, sharedErr := store.Shared("o", "r", [16]byte{}, time.Time{})
		if err != nil || sharedErr != nil || keyed.KeyOf(own) != keyed.KeyOf(all) {
			return nil
		}
	}
	return &Shared{Store: s, Marked: marked, Now: now}
}

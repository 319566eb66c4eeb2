package broker

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// place is where a new token is published. The zero place is one that no replica searches.
type place struct {
	name  store.Name
	aside credential.Token // a working token under that name, to be stored elsewhere; zero if there is none
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
		scope.keep = place{f.name, f.live}
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharePatience)
	defer cancel()
	_ = s.Store.Delete(ctx, claim)
}

// await waits for the token that another replica mints. The zero Token means that this
// replica must mint.
func (s *Shared) await(ctx context.Context, name store.Name, scope Scope, least time.Duration) (credential.Token, error) {
	patience := time.NewTimer(sharePatience)
	defer patience.Stop()
	for pause := shareLook; ; pause = min(2*pause, maxShareLook) {
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
	to := scope.keep
	if to.name.IsZero() {
		return s.putAside(ctx, scope, t)
	}
	if !to.aside.IsZero() {
		if err := s.putAside(ctx, scope, to.aside); err != nil {
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

// putAside stores a token where only revocation finds it.
func (s *Shared) putAside(ctx context.Context, scope Scope, t credential.Token) error {
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

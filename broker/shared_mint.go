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

// place says where a new token is stored for the other replicas. The zero place is one
// where they do not look.
type place struct {
	name  store.Name
	aside credential.Token // a valid token that is there now, to be moved; zero if there is none
}

// Get returns a token that lasts longer than least and is not in its last quarter:
// another replica's, or else a new one from mint. isOld says that it was minted
// earlier.
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

// claim creates the entry that lets one replica mint, and reports whether this call
// created it.
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
	// An earlier replica could not use what is under f.name either, and has claimed the
	// mint. If that replica died, this one mints; others may, too.
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

// claimName returns the name to claim: f.name if there is no entry, or else a name
// derived from the unusable entry.
func claimName(scope Scope, f found) (store.Name, error) {
	if f.mark == "" {
		return f.name, nil
	}
	sum := sha256.Sum256([]byte("instead of " + f.mark + " in " + f.name.String()))
	ends, _ := f.name.Ends()
	return scope.nameOf(sum, ends)
}

// release deletes a claim, so that no replica waits for it. If that fails, the claim
// expires after claimLife.
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
		if !f.token.IsZero() || f.mark == "" { // minted, or that replica failed
			return f.token, nil
		}
	}
}

// published stores new tokens before they are given, for the other replicas and for
// revocations. If a token cannot be stored, it returns the token with an error.
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

// put stores a new token. If a valid token is there, it first moves that elsewhere.
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

// setApart records in the store that the account has tokens that are not shared, once
// every 45 minutes.
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

// putAside stores a token under a name where replicas do not look for it, but
// revocations do.
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

// newShared returns a Shared. It returns nil if the store encrypts shared tokens with
// another key than a workspace's tokens, because more readers may have that key.
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

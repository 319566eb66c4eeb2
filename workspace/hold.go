package workspace

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// holdings are a workspace's tokens in the store.
type heldTokens struct {
	current map[string]credential.Token // by owner; "" is the only one
	kept    []storedToken               // superseded
	vended  []storedToken               // by brokers; of interest only when all is taken away
	damaged []store.Name                // where a token should be and is none

	versions map[store.Name]string // of what was read or written there, in stores that compare them
}

// storedToken is a token and where it is. Its name says no more than that: who wrote it
// may have made another of the same token.
type storedToken struct {
	credential.Token
	name store.Name
}

func (h *heldTokens) read(ctx context.Context, s store.Store, name store.Name) error {
	entry, err := s.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if errors.Is(err, store.ErrDamaged) {
		h.damaged = append(h.damaged, name)
		return nil
	}
	if err != nil {
		return err
	}
	h.versions[name] = entry.Version
	token, err := credential.ParseToken([]byte(entry.Value.Reveal()), entry.Modified)
	if err != nil {
		token = credential.NewToken(entry.Value.Reveal(), entry.Modified)
	}
	switch {
	case name.IsSuperseded():
		h.kept = append(h.kept, storedToken{token, name})
		return nil
	case name.IsVended():
		h.vended = append(h.vended, storedToken{token, name})
		return nil
	}
	owner, ok := name.Owner()
	if !ok {
		owner = ""
	}
	h.current[owner] = token
	return nil
}

// held is what Plan is told.
func (h *heldTokens) held() Held {
	held := Held{Current: map[string]string{}, Ends: map[string]time.Time{}}
	for owner, token := range h.current {
		held.Current[owner], held.Ends[token.Hash()] = token.Hash(), token.Expiry
	}
	for owner, hash := range held.Current {
		if owner != "" && hash == held.Current[""] {
			delete(held.Current, "")
			break
		}
	}
	for _, token := range h.kept {
		held.Superseded = append(held.Superseded, token.Hash())
	}
	for _, token := range h.vended {
		held.Vended = append(held.Vended, token.Hash())
	}
	return held
}

// find returns the token with that hash.
func (h *heldTokens) find(hash string) (credential.Token, bool) {
	for _, token := range h.current {
		if token.Hash() == hash {
			return token, true
		}
	}
	for _, token := range slices.Concat(h.kept, h.vended) {
		if token.Hash() == hash {
			return token.Token, true
		}
	}
	return credential.Token{}, false
}

// drop deletes the token with that hash from the store, wherever it is. That a
// workspace reads it goes last: until then the next run finds it by its owner.
func (h *heldTokens) drop(ctx context.Context, s store.Store, id, hash string) (err error) {
	if h.vended, err = dropFrom(ctx, s, h.vended, hash); err != nil {
		return err
	}
	if h.kept, err = dropFrom(ctx, s, h.kept, hash); err != nil {
		return err
	}
	for owner, token := range h.current {
		if token.Hash() != hash {
			continue
		}
		name, err := tokenName(id, owner)
		if err == nil {
			err = h.remove(ctx, s, name)
		}
		if err != nil {
			return err
		}
		delete(h.current, owner)
	}
	return nil
}

// remove deletes an entry.
func (h *heldTokens) remove(ctx context.Context, s store.Store, name store.Name) error {
	err := s.Delete(ctx, name)
	if err == nil {
		delete(h.versions, name)
	}
	return err
}

// dropFrom deletes a token of a list wherever it is, and returns the list without
// it.
func dropFrom(ctx context.Context, s store.Store, list []storedToken, hash string) ([]storedToken, error) {
	for _, t := range list {
		if t.Hash() != hash {
			continue
		}
		if err := s.Delete(ctx, t.name); err != nil {
			return list, err
		}
	}
	return slices.DeleteFunc(list, func(t storedToken) bool { return t.Hash() == hash }), nil
}

// tokenName is where the workspace reads the token of an owner; of "", its only
// one.
func tokenName(id, owner string) (store.Name, error) {
	if owner == "" {
		return store.OnlyToken(id)
	}
	return store.Token(id, owner)
}

func supersededName(id string, token credential.Token) (store.Name, error) {
	return store.Superseded(id, token.ID())
}

// copyOnly keeps the only token's name a copy of the token when there is one
// owner, and empty otherwise. A token that is nowhere else stays: it is still to
// be revoked, and without its text nobody could.
func (i *Issuer) copyOnly(ctx context.Context, id string, h *heldTokens) error {
	name, err := store.OnlyToken(id)
	if err != nil {
		return err
	}
	only, isThere := h.current[""]
	owners := len(h.current)
	if isThere {
		owners--
	}
	if isThere && !h.isElsewhere(only) {
		return nil
	}
	if owners != 1 {
		if !isThere {
			return nil
		}
		return h.remove(ctx, i.Store, name)
	}
	for owner, token := range h.current {
		if owner != "" && only.Secret() != token.Secret() {
			err := i.put(ctx, id, h, name, token)
			if err == nil {
				h.current[""] = token
			}
			return err
		}
	}
	return nil
}

// makeWay puts the owner's token in the place of the only one before that one is
// revoked, so that the workspace reads a live token all the time. The other is kept
// first, for a later run to revoke.
func (i *Issuer) makeWay(ctx context.Context, r *Record, h *heldTokens, hash string) error {
	only, ok := h.current[""]
	if !ok || only.Hash() != hash || len(h.current) != 2 || h.isElsewhere(only) {
		return nil
	}
	if r.expect(only, i.now()) {
		if err := i.save(ctx, r); err != nil {
			return err
		}
	}
	if err := i.keep(ctx, r.ID, h, only); err != nil {
		return err
	}
	return i.copyOnly(ctx, r.ID, h)
}

// expect notes in the record that the store is about to keep a token that the record
// does not know, so that a later run looks for it by more than names. It reports
// whether that changed the record.
func (r *Record) expect(token credential.Token, now time.Time) bool {
	if r.standsIn || r.knows(token.Hash()) || r.LastError != nil && r.LastError.Foreign {
		return false
	}
	r.LastError, r.expects = &LastError{At: now, Why: "a token that gatepass did not write is still to be revoked", Foreign: true}, true
	return true
}

// met takes back what expect noted, once the token is revoked. A run that ends with
// conclude need not call it.
func (i *Issuer) met(ctx context.Context, r *Record, h *heldTokens) error {
	if !r.expects || h.keepsUnknown(r) {
		return nil
	}
	r.LastError, r.expects = nil, false
	return i.save(ctx, r)
}

// keepsUnknown reports whether a token is kept that the record does not know.
func (h *heldTokens) keepsUnknown(r *Record) bool {
	return slices.ContainsFunc(h.kept, func(t storedToken) bool { return !r.knows(t.Hash()) })
}

// isElsewhere reports whether the only token is kept under another name, too.
func (h *heldTokens) isElsewhere(only credential.Token) bool {
	for owner, token := range h.current {
		if owner != "" && token.Secret() == only.Secret() {
			return true
		}
	}
	return slices.ContainsFunc(h.kept, func(t storedToken) bool { return t.Secret() == only.Secret() })
}

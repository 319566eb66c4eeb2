package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// holdings are a workspace's tokens in the store.
type holdings struct {
	current map[string]credential.Token // by owner; "" is the only one
	kept    []credential.Token          // superseded
}

// hold reads them. What is no token any more is treated as one that nobody
// knows: it is deleted.
func (i *Issuer) hold(ctx context.Context, id string) (*holdings, error) {
	folder, err := store.Workspace(id)
	if err != nil {
		return nil, err
	}
	h := &holdings{current: map[string]credential.Token{}}
	for name, err := range i.Store.List(ctx, folder) {
		if err != nil {
			return nil, err
		}
		if !name.IsToken() && !name.IsSuperseded() {
			continue
		}
		if err := h.read(ctx, i.Store, name); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *holdings) read(ctx context.Context, s store.Store, name store.Name) error {
	entry, err := s.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	token, err := credential.ParseToken([]byte(entry.Value.Reveal()), entry.Modified)
	if err != nil {
		token = credential.NewToken(entry.Value.Reveal(), entry.Modified)
	}
	if name.IsSuperseded() {
		h.kept = append(h.kept, token)
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
func (h *holdings) held() Held {
	held := Held{Current: map[string]string{}}
	for owner, token := range h.current {
		held.Current[owner] = token.Hash()
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
	return held
}

// find returns the token with that hash.
func (h *holdings) find(hash string) (credential.Token, bool) {
	for _, token := range h.current {
		if token.Hash() == hash {
			return token, true
		}
	}
	i := slices.IndexFunc(h.kept, func(t credential.Token) bool { return t.Hash() == hash })
	if i < 0 {
		return credential.Token{}, false
	}
	return h.kept[i], true
}

// drop deletes the token with that hash from the store, wherever it is. That a
// workspace reads it goes last: until then the next run finds it by its owner.
func (h *holdings) drop(ctx context.Context, s store.Store, id, hash string) error {
	for _, token := range h.kept {
		if token.Hash() != hash {
			continue
		}
		name, err := supersededName(id, token)
		if err == nil {
			err = s.Delete(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	h.kept = slices.DeleteFunc(h.kept, func(t credential.Token) bool { return t.Hash() == hash })
	for owner, token := range h.current {
		if token.Hash() != hash {
			continue
		}
		name, err := tokenName(id, owner)
		if err == nil {
			err = s.Delete(ctx, name)
		}
		if err != nil {
			return err
		}
		delete(h.current, owner)
	}
	return nil
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
	sum := sha256.Sum256([]byte(token.Secret()))
	return store.Superseded(id, [8]byte(sum[:8]))
}

// copyOnly keeps the only token's name a copy of the token when there is one
// owner, and empty otherwise.
func (i *Issuer) copyOnly(ctx context.Context, id string, h *holdings) error {
	name, err := store.OnlyToken(id)
	if err != nil {
		return err
	}
	only, isThere := h.current[""]
	owners := len(h.current)
	if isThere {
		owners--
	}
	if owners != 1 {
		if !isThere {
			return nil
		}
		return i.Store.Delete(ctx, name)
	}
	for owner, token := range h.current {
		if owner != "" && only.Secret() != token.Secret() {
			return i.Store.Put(ctx, name, store.NewSecret(token.Secret()), store.Replace)
		}
	}
	return nil
}

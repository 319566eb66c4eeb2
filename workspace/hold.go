package workspace

import (
	"context"
	"errors"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// holdings are a workspace's tokens in the store.
type holdings struct {
	hashes Held
	tokens map[string]credential.Token // by owner; "" is the only one
	only   string                      // what is under the only token's name
	lost   []Token                     // alive, and nobody has their text
}

// hold reads them. What is no token any more is treated as one that nobody
// knows: it is deleted.
func (i *Issuer) hold(ctx context.Context, id string) (*holdings, error) {
	folder, err := store.Workspace(id)
	if err != nil {
		return nil, err
	}
	h := &holdings{hashes: Held{}, tokens: map[string]credential.Token{}}
	for name, err := range i.Store.List(ctx, folder) {
		if err != nil {
			return nil, err
		}
		if !name.IsToken() {
			continue
		}
		if err := h.read(ctx, i.Store, name); err != nil {
			return nil, err
		}
	}
	for owner, hash := range h.hashes {
		if owner != "" && hash == h.hashes[""] {
			delete(h.hashes, "")
			delete(h.tokens, "")
			break
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
	owner, ok := name.Owner()
	if !ok {
		owner, h.only = "", token.Secret()
	}
	h.hashes[owner], h.tokens[owner] = token.Hash(), token
	return nil
}

// drop deletes an owner's token from the store.
func (h *holdings) drop(ctx context.Context, s store.Store, id, owner string) error {
	name, err := store.OnlyToken(id)
	if owner != "" {
		name, err = store.Token(id, owner)
	}
	if err != nil {
		return err
	}
	if owner == "" {
		h.only = ""
	}
	delete(h.tokens, owner)
	return s.Delete(ctx, name)
}

// copyOnly keeps the only token's name a copy of the token when there is one
// owner, and empty otherwise.
func (i *Issuer) copyOnly(ctx context.Context, r *Record, h *holdings) error {
	name, err := store.OnlyToken(r.ID)
	if err != nil {
		return err
	}
	if len(h.tokens) != 1 {
		return i.Store.Delete(ctx, name)
	}
	for _, token := range h.tokens {
		if h.only != token.Secret() {
			return i.Store.Put(ctx, name, store.NewSecret(token.Secret()), store.Replace)
		}
	}
	return nil
}

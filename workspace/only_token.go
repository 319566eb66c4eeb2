package workspace

import (
	"context"
	"slices"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// copyOnly keeps the entry of the only token a copy of the owner's token if there is
// one owner, and empty otherwise. A token that is in no other entry stays: it must
// still be revoked, and no run can revoke it without its value.
func (h *heldTokens) copyOnly(ctx context.Context) error {
	name, err := store.OnlyToken(h.id)
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
		return h.remove(ctx, name)
	}
	for owner, token := range h.current {
		if owner != "" && only.Secret() != token.Secret() {
			err := h.put(ctx, name, token)
			if err == nil {
				h.current[""] = token
			}
			return err
		}
	}
	return nil
}

// isInTheWay reports whether the token with that hash is only in the entry of the only
// token, where the workspace is to read its one owner's token.
func (h *heldTokens) isInTheWay(hash string) bool {
	only, ok := h.current[""]
	return ok && only.Hash() == hash && len(h.current) == 2 && !h.isElsewhere(only)
}

// isElsewhere reports whether another entry holds the only token too.
func (h *heldTokens) isElsewhere(only credential.Token) bool {
	for owner, token := range h.current {
		if owner != "" && token.Secret() == only.Secret() {
			return true
		}
	}
	return slices.ContainsFunc(h.kept, func(t storedToken) bool { return t.Secret() == only.Secret() })
}

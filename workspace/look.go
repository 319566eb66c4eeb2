package workspace

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// hold reads the workspace's tokens. What is no token any more is treated as one
// that is not known: it is deleted.
//
// The record has the hash of every token, and names are made of hashes and owners.
// So the tokens are read by name, which costs the same however many workspaces
// there are; a list of a folder costs some stores a look at everything. hold lists
// the folder where the record does not tell what is in it.
func (i *Issuer) loadHeld(ctx context.Context, r *Record, owners []string) (*heldTokens, error) {
	if r.mayMiss(ctx) {
		return i.list(ctx, r)
	}
	names, err := r.names(owners)
	if err != nil {
		return nil, err
	}
	h, err := i.readAll(ctx, names)
	if err == nil && i.Adopt && h.hasUnknown(r) {
		return i.list(ctx, r)
	}
	return h, err
}

// list reads all that is in the workspace's folder.
func (i *Issuer) list(ctx context.Context, r *Record) (*heldTokens, error) {
	all, err := i.names(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return i.readAll(ctx, slices.DeleteFunc(all, func(n store.Name) bool { return !n.IsSecret() }))
}

func (i *Issuer) readAll(ctx context.Context, names []store.Name) (*heldTokens, error) {
	h := &heldTokens{current: map[string]credential.Token{}, versions: map[store.Name]string{}}
	for _, name := range names {
		if err := h.read(ctx, i.Store, name); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// mayMiss reports whether the store may have tokens that the record does not tell of:
// it is new, or the latest run did not come to its end. Everything is looked for
// where everything is taken away.
func (r *Record) mayMiss(ctx context.Context) bool {
	isOpen := func(t Token) bool { return t.State == Planned || t.State == Minting || t.State == Minted }
	isLeft := r.LastError != nil && r.LastError.Foreign
	return r.isNew || r.Destroying || isLeft || hasTakenOver(ctx) || slices.ContainsFunc(r.Tokens, isOpen)
}

// names are where the record's tokens are, and those of the owners.
func (r *Record) names(owners []string) ([]store.Name, error) {
	only, err := store.OnlyToken(r.ID)
	if err != nil {
		return nil, err
	}
	names := []store.Name{only}
	owners = append(r.tokenOwners(), owners...)
	slices.Sort(owners)
	for _, owner := range slices.Compact(owners) {
		if name, err := store.Token(r.ID, owner); err == nil { // what is no account has no token
			names = append(names, name)
		}
	}
	for _, t := range r.Tokens {
		// A run that failed may have left a copy that it meant to delete.
		if id, ok := t.id(); ok && (t.State == Superseded || r.LastError != nil) {
			name, err := store.Superseded(r.ID, id)
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	return names, nil
}

// id is that of the token; ok is false where the record has no hash of it.
func (t Token) id() (id [8]byte, ok bool) {
	sum, err := base64.StdEncoding.DecodeString(t.Hash)
	if err != nil || len(sum) < len(id) {
		return id, false
	}
	return [8]byte(sum[:len(id)]), true
}

// hasUnknown reports whether the workspace reads a token that the record does not
// know.
func (h *heldTokens) hasUnknown(r *Record) bool {
	for _, token := range h.current {
		if !r.knows(token.Hash()) {
			return true
		}
	}
	return false
}

func (r *Record) knows(hash string) bool {
	return slices.ContainsFunc(r.Tokens, func(t Token) bool { return t.Hash == hash })
}

// tokenOwners are the accounts, in lower case, of tokens in the ledger.
func (r *Record) tokenOwners() []string {
	var owners []string
	for _, t := range r.Tokens {
		owners = append(owners, strings.ToLower(t.Owner))
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

package workspace

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// heldTokens are a workspace's tokens in the store.
type heldTokens struct {
	store store.Store
	id    string // of the workspace

	current  map[string]credential.Token // by owner; "" is the only token
	toRevoke []storedToken               // superseded, to be revoked
	vended   []storedToken               // by brokers; revoked when the workspace is destroyed
	damaged  []store.Name                // entries that should be tokens and are not

	versions map[store.Name]string // of the entries that were read or written, in stores that compare versions
}

// storedToken is a token and its entry. Another entry may hold the same token.
type storedToken struct {
	credential.Token
	name     store.Name
	isShared bool // a broker may give it to other workspaces
}

// readHeld reads the tokens that a record lists, and those of owners. The record has
// the hash of every token, and names are made of hashes and owners. So the tokens are
// read by name, at a cost that does not depend on the number of workspaces; in some
// stores, listing a folder reads everything. readHeld lists the folder only if isUnsure
// is set, if the record may not list all tokens, or if adopts is set and the workspace
// reads a token that the record does not know.
func readHeld(ctx context.Context, s store.Store, r *Record, owners []string, isUnsure, adopts bool) (*heldTokens, error) {
	if isUnsure || r.mayBeIncomplete() {
		return listHeld(ctx, s, r.ID)
	}
	names, err := r.names(owners)
	if err != nil {
		return nil, err
	}
	h, err := readNames(ctx, s, r.ID, names)
	if err == nil && adopts && h.hasUnknown(r) {
		return listHeld(ctx, s, r.ID)
	}
	return h, err
}

// listHeld reads all tokens in the workspace's folder.
func listHeld(ctx context.Context, s store.Store, id string) (*heldTokens, error) {
	all, err := folder(ctx, s, id)
	if err != nil {
		return nil, err
	}
	return readNames(ctx, s, id, slices.DeleteFunc(all, func(n store.Name) bool { return !n.IsSecret() }))
}

// folder returns the names of all entries of a workspace.
func folder(ctx context.Context, s store.Store, id string) ([]store.Name, error) {
	prefix, err := store.Workspace(id)
	if err != nil {
		return nil, err
	}
	var names []store.Name
	for name, err := range s.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// mayBeIncomplete reports whether the store may have tokens that the record does not list,
// because the latest run did not finish. A destruction looks for all tokens in any
// case.
func (r *Record) mayBeIncomplete() bool {
	isOpen := func(t Token) bool { return t.State == Planned || t.State == Minting || t.State == Minted }
	isLeft := r.LastError != nil && r.LastError.Foreign
	return r.Destroying || isLeft || slices.ContainsFunc(r.Tokens, isOpen)
}

// names returns the entries of the record's tokens, and of the owners' tokens.
func (r *Record) names(owners []string) ([]store.Name, error) {
	only, err := store.OnlyToken(r.ID)
	if err != nil {
		return nil, err
	}
	names := []store.Name{only}
	owners = append(r.tokenOwners(), owners...)
	slices.Sort(owners)
	for _, owner := range slices.Compact(owners) {
		if name, err := store.Token(r.ID, owner); err == nil { // a name that is not an account has no token
			names = append(names, name)
		}
	}
	for _, t := range r.Tokens {
		// A failed run may have left a copy that it meant to delete.
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

// id returns the token's id; ok is false if the record has no hash of it.
func (t Token) id() (id [8]byte, ok bool) {
	sum, err := base64.StdEncoding.DecodeString(t.Hash)
	if err != nil || len(sum) < len(id) {
		return id, false
	}
	return [8]byte(sum[:len(id)]), true
}

func readNames(ctx context.Context, s store.Store, id string, names []store.Name) (*heldTokens, error) {
	h := &heldTokens{store: s, id: id, current: map[string]credential.Token{}, versions: map[store.Name]string{}}
	for _, name := range names {
		if err := h.read(ctx, name); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// read reads one entry. A value that is not a token is treated like a token that the
// ledger does not know: it is deleted.
func (h *heldTokens) read(ctx context.Context, name store.Name) error {
	entry, err := h.store.Get(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case errors.Is(err, store.ErrDamaged):
		h.damaged = append(h.damaged, name)
		return nil
	case err != nil:
		return err
	}
	h.versions[name] = entry.Version
	token, err := credential.ParseToken([]byte(entry.Value.Reveal()), entry.Modified)
	if err != nil {
		token = credential.NewToken(entry.Value.Reveal(), entry.Modified)
	}
	switch {
	case name.IsSuperseded():
		h.toRevoke = append(h.toRevoke, storedToken{Token: token, name: name})
	case name.IsVended():
		h.vended = append(h.vended, storedToken{token, name, !isUnshared(entry)})
	default:
		owner, ok := name.Owner()
		if !ok { // the only token
			owner = ""
		}
		h.current[owner] = token
	}
	return nil
}

// isUnshared reports whether a broker wrote that it gives the token to no other workspace.
func isUnshared(vended store.Entry) bool {
	var text struct {
		Own bool `json:"own"`
	}
	return json.Unmarshal([]byte(vended.Value.Reveal()), &text) == nil && text.Own
}

// blockToken keeps every broker from giving a token that is about to be revoked to other
// workspaces that share it.
func (h *heldTokens) blockToken(ctx context.Context, hash string) error {
	for _, t := range h.vended {
		if t.Hash() != hash || !t.isShared {
			continue
		}
		ends, _ := t.name.Ends()
		text := store.NewSecret(time.Now().UTC().Format(time.RFC3339))
		return store.Block(ctx, h.store, store.BlockedToken(t.ID(), ends), text, t.Expiry.Add(store.TokenGrace))
	}
	return nil
}

// held returns the input of Plan.
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
	for _, token := range h.toRevoke {
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
	for _, token := range slices.Concat(h.toRevoke, h.vended) {
		if token.Hash() == hash {
			return token.Token, true
		}
	}
	return credential.Token{}, false
}

// hasUnknown reports whether the workspace reads a token that the record does not
// know.
func (h *heldTokens) hasUnknown(r *Record) bool {
	for _, hash := range h.held().Current {
		if !r.knows(hash) {
			return true
		}
	}
	return false
}

// storesUnknown reports whether the store has a token to be revoked that the record does
// not know.
func (h *heldTokens) storesUnknown(r *Record) bool {
	return slices.ContainsFunc(h.toRevoke, func(t storedToken) bool { return !r.knows(t.Hash()) })
}

// deliver writes a token to the entry that the workspace reads.
func (h *heldTokens) deliver(ctx context.Context, owner string, token credential.Token) error {
	name, err := store.Token(h.id, owner)
	if err == nil {
		err = h.put(ctx, name, token)
	}
	if err == nil {
		h.current[owner] = token
	}
	return err
}

// put writes a token to an entry, unless it has changed since h read it. If the store
// compares versions and another run has written there since, it returns an error that
// wraps [ErrBusy].
func (h *heldTokens) put(ctx context.Context, name store.Name, token credential.Token) error {
	value := store.NewSecret(token.Secret())
	s, ok := h.store.(store.Swapper)
	if !ok {
		return h.store.Put(ctx, name, value, store.Replace)
	}
	version, err := s.Swap(ctx, name, value, h.versions[name], time.Time{})
	if errors.Is(err, store.ErrChanged) {
		return busy(h.id, 0)
	}
	if err == nil {
		h.versions[name] = version
	}
	return err
}

// storeForRevoke writes a token to an entry from which a later run revokes it.
func (h *heldTokens) storeForRevoke(ctx context.Context, token credential.Token) error {
	name, err := supersededName(h.id, token)
	if err != nil {
		return err
	}
	err = h.put(ctx, name, token)
	if errors.Is(err, ErrBusy) { // a copy of the same token, because the name contains its hash
		err = h.store.Put(ctx, name, store.NewSecret(token.Secret()), store.Replace)
	}
	if err == nil {
		h.toRevoke = append(h.toRevoke, storedToken{Token: token, name: name})
	}
	return err
}

// drop deletes the token with that hash from all entries. It deletes the entry that the
// workspace reads last: until then, the next run finds the token by its owner.
func (h *heldTokens) drop(ctx context.Context, hash string) (err error) {
	if h.vended, err = h.dropFrom(ctx, h.vended, hash); err != nil {
		return err
	}
	if h.toRevoke, err = h.dropFrom(ctx, h.toRevoke, hash); err != nil {
		return err
	}
	for owner, token := range h.current {
		if token.Hash() != hash {
			continue
		}
		name, err := tokenName(h.id, owner)
		if err == nil {
			err = h.remove(ctx, name)
		}
		if err != nil {
			return err
		}
		delete(h.current, owner)
	}
	return nil
}

// dropFrom deletes a token's entries in a list, and returns the rest of the list.
func (h *heldTokens) dropFrom(ctx context.Context, list []storedToken, hash string) ([]storedToken, error) {
	for _, t := range list {
		if t.Hash() != hash {
			continue
		}
		if err := h.store.Delete(ctx, t.name); err != nil {
			return list, err
		}
	}
	return slices.DeleteFunc(list, func(t storedToken) bool { return t.Hash() == hash }), nil
}

// remove deletes an entry.
func (h *heldTokens) remove(ctx context.Context, name store.Name) error {
	err := h.store.Delete(ctx, name)
	if err == nil {
		delete(h.versions, name)
	}
	return err
}

// tokenName returns the entry in which the workspace reads an owner's token; for "",
// its only token.
func tokenName(id, owner string) (store.Name, error) {
	if owner == "" {
		return store.OnlyToken(id)
	}
	return store.Token(id, owner)
}

func supersededName(id string, token credential.Token) (store.Name, error) {
	return store.Superseded(id, token.ID())
}

func (r *Record) knows(hash string) bool {
	return slices.ContainsFunc(r.Tokens, func(t Token) bool { return t.Hash == hash })
}

// tokenOwners returns the accounts, in lower case, of the tokens in the ledger.
func (r *Record) tokenOwners() []string {
	var owners []string
	for _, t := range r.Tokens {
		owners = append(owners, strings.ToLower(t.Owner))
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// syncOnlyToken keeps the entry of the only token a copy of the owner's token if there is
// one owner, and empty otherwise. A token that is in no other entry stays: it must
// still be revoked, and no run can revoke it without its value.
func (h *heldTokens) syncOnlyToken(ctx context.Context) error {
	name, err := store.OnlyToken(h.id)
	if err != nil {
		return err
	}
	only, isThere := h.current[""]
	owners := len(h.current)
	if isThere {
		owners--
	}
	if isThere && !h.hasOtherEntry(only) {
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

// blocksDelivery reports whether the token with that hash is only in the entry of the only
// token, where the workspace is to read its one owner's token.
func (h *heldTokens) blocksDelivery(hash string) bool {
	only, ok := h.current[""]
	return ok && only.Hash() == hash && len(h.current) == 2 && !h.hasOtherEntry(only)
}

// hasOtherEntry reports whether another entry holds the only token too.
func (h *heldTokens) hasOtherEntry(only credential.Token) bool {
	for owner, token := range h.current {
		if owner != "" && token.Secret() == only.Secret() {
			return true
		}
	}
	return slices.ContainsFunc(h.toRevoke, func(t storedToken) bool { return t.Secret() == only.Secret() })
}

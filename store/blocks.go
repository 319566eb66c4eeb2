package store

import (
	"context"
	"maps"
	"strings"
)

// Blocks are what operators took: who and what is given nothing any more. The zero
// Blocks hold nobody back.
type Blocks struct {
	App        bool            // nothing is given at all
	Owners     map[string]bool // accounts, in lower case
	Workspaces map[string]bool // by id
	// Tokens were revoked before their end; by the ID that BlockedToken takes, in
	// hex.
	Tokens map[string]bool
}

// ReadBlocks reads all of them.
func ReadBlocks(ctx context.Context, s Store) (Blocks, error) {
	b := NewBlocks()
	for name, err := range s.List(ctx, AllBlocks()) {
		if err != nil {
			return Blocks{}, err
		}
		b.Add(name)
	}
	return b, nil
}

// NewBlocks returns blocks that can be added to.
func NewBlocks() Blocks {
	return Blocks{Owners: map[string]bool{}, Workspaces: map[string]bool{}, Tokens: map[string]bool{}}
}

// Add makes them hold what an entry of the block list stands for. Of other names it makes
// nothing.
func (b *Blocks) Add(n Name) {
	if n == BlockedApp() {
		b.App = true
	}
	for folder, set := range map[string]map[string]bool{blockedOwners: b.Owners, blockedWorkspaces: b.Workspaces} {
		if last, ok := strings.CutPrefix(n.path, folder+"/"); ok {
			set[last] = true
		}
	}
	if n.IsBlockedToken() {
		b.Tokens[idIn(n.last())] = true
	}
}

// Clone returns a copy.
func (b Blocks) Clone() Blocks {
	c := NewBlocks()
	c.App = b.App
	maps.Copy(c.Owners, b.Owners)
	maps.Copy(c.Workspaces, b.Workspaces)
	maps.Copy(c.Tokens, b.Tokens)
	return c
}

// Has reports whether a workspace is given nothing of an account. Without an
// owner, it reports whether the workspace is given nothing at all.
func (b Blocks) Has(workspace, owner string) bool {
	return b.App || b.Workspaces[workspace] || b.Owners[strings.ToLower(owner)]
}

// Without returns the blocks that are not among others.
func (b Blocks) Without(others Blocks) Blocks {
	return Blocks{
		App: b.App && !others.App, Owners: without(b.Owners, others.Owners),
		Workspaces: without(b.Workspaces, others.Workspaces), Tokens: without(b.Tokens, others.Tokens),
	}
}

func without(set, others map[string]bool) map[string]bool {
	rest := map[string]bool{}
	for key := range set {
		if !others[key] {
			rest[key] = true
		}
	}
	return rest
}

// IsEmpty reports whether nobody is held back.
func (b Blocks) IsEmpty() bool {
	return !b.App && len(b.Owners)+len(b.Workspaces)+len(b.Tokens) == 0
}

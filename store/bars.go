package store

import (
	"context"
	"maps"
	"strings"
)

// Bars are what operators took: who and what is given nothing any more. The zero
// Bars hold nobody back.
type Bars struct {
	App        bool            // nothing is given at all
	Owners     map[string]bool // accounts, in lower case
	Workspaces map[string]bool // by id
	// Tokens were revoked before their end; by the ID that BarredToken takes, in
	// hex.
	Tokens map[string]bool
}

// ReadBars reads all of them.
func ReadBars(ctx context.Context, s Store) (Bars, error) {
	b := NewBars()
	for name, err := range s.List(ctx, AllBars()) {
		if err != nil {
			return Bars{}, err
		}
		b.Add(name)
	}
	return b, nil
}

// NewBars returns bars that can be added to.
func NewBars() Bars {
	return Bars{Owners: map[string]bool{}, Workspaces: map[string]bool{}, Tokens: map[string]bool{}}
}

// Add makes them hold what an entry of the block list stands for. Of other names it makes
// nothing.
func (b *Bars) Add(n Name) {
	if n == BarredApp() {
		b.App = true
	}
	for folder, set := range map[string]map[string]bool{barredOwners: b.Owners, barredWorkspaces: b.Workspaces} {
		if last, ok := strings.CutPrefix(n.path, folder+"/"); ok {
			set[last] = true
		}
	}
	if n.IsBarredToken() {
		b.Tokens[idIn(n.last())] = true
	}
}

// Clone returns a copy.
func (b Bars) Clone() Bars {
	c := NewBars()
	c.App = b.App
	maps.Copy(c.Owners, b.Owners)
	maps.Copy(c.Workspaces, b.Workspaces)
	maps.Copy(c.Tokens, b.Tokens)
	return c
}

// Has reports whether a workspace is given nothing of an account. Without an
// owner, it reports whether the workspace is given nothing at all.
func (b Bars) Has(workspace, owner string) bool {
	return b.App || b.Workspaces[workspace] || b.Owners[strings.ToLower(owner)]
}

// Without returns the bars that are not among others.
func (b Bars) Without(others Bars) Bars {
	return Bars{
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
func (b Bars) IsEmpty() bool {
	return !b.App && len(b.Owners)+len(b.Workspaces)+len(b.Tokens) == 0
}

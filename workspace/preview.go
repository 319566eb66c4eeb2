package workspace

import (
	"context"
	"strings"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// A Preview is a token that [Issuer.Create] would ask for.
type Preview struct {
	Owner        string         // in lower case
	Installation int64          // that the store knows; 0 where GitHub would be asked
	Patterns     []mint.Pattern // of the profile, for this owner
	Stored       store.Name     // where the workspace would read the token
}

// Previews returns the tokens that a workspace of the profile would have, one for each
// owner, from what the store knows of installations. It asks GitHub nothing and writes
// nothing.
func Previews(ctx context.Context, s store.Store, id string, p *Profile) ([]Preview, error) {
	installed, err := StoredInstallations(ctx, s)
	if err != nil {
		return nil, err
	}
	var all []Preview
	for _, owner := range ownersOf(p.Repositories, installed) {
		v := Preview{Owner: owner}
		for _, in := range installed {
			if strings.EqualFold(in.Account.Login, owner) {
				v.Installation = in.ID
			}
		}
		for _, pattern := range p.Repositories {
			if pattern.Everything() || pattern.Owner() == owner {
				v.Patterns = append(v.Patterns, pattern)
			}
		}
		if v.Stored, err = store.Token(id, owner); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

package broker

import (
	"context"

	"github.com/gatepass/gatepass/credential"
)

// Marked reports whether any replica has marked a token as revoked. It returns an error
// if the block list cannot be read.
func (b *Blocklist) Marked(ctx context.Context, t credential.Token) (bool, error) {
	have, err := b.current(ctx)
	if err != nil {
		return true, err
	}
	return have.Tokens[t.ID().String()], nil
}

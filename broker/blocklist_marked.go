package broker

import (
	"context"

	"github.com/gatepass/gatepass/credential"
)

// Marked reports whether a token was revoked before its end, at any replica. It returns an
// error where the list of what is blocked cannot be read.
func (b *Blocklist) Marked(ctx context.Context, t credential.Token) (bool, error) {
	have, err := b.current(ctx)
	if err != nil {
		return true, err
	}
	return have.Tokens[t.ID().String()], nil
}

//go:build !demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/postgres"
)

func openPostgres(u *url.URL) (store.Store, error) {
	tokens, rest, err := takeTokens(u)
	if err != nil {
		return nil, err
	}
	s, err := postgres.OpenStore(rest)
	if err != nil {
		return nil, err
	}
	return withTokens(s, tokens)
}

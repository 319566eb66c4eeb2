//go:build !demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/dynamodb"
)

func openDynamoDB(u *url.URL) (store.Store, error) {
	tokens, rest, err := takeTokens(u)
	if err != nil {
		return nil, err
	}
	s, err := dynamodb.OpenStore(rest)
	if err != nil {
		return nil, err
	}
	return withTokens(s, tokens)
}

//go:build !demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/mint/azurekeys"
	"github.com/gatepass/gatepass/mint/gcpkms"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/dynamodb"
	"github.com/gatepass/gatepass/store/kubernetes"
	"github.com/gatepass/gatepass/store/postgres"
)

func openGoogle(u *url.URL) (Signer, error) { return checkedSigner(gcpkms.Open(u)) }
func openAzure(u *url.URL) (Signer, error)  { return checkedSigner(azurekeys.Open(u)) }

func openKubernetes(u *url.URL) (store.Store, error) { return checkedStore(kubernetes.OpenStore(u)) }

func openDynamoDB(u *url.URL) (store.Store, error) {
	tokens, rest, err := splitTokensStore(u)
	if err != nil {
		return nil, err
	}
	s, err := dynamodb.OpenStore(rest)
	if err != nil {
		return nil, err
	}
	return withTokens(s, tokens)
}

func openPostgres(u *url.URL) (store.Store, error) {
	tokens, rest, err := splitTokensStore(u)
	if err != nil {
		return nil, err
	}
	s, err := postgres.OpenStore(rest)
	if err != nil {
		return nil, err
	}
	return withTokens(s, tokens)
}

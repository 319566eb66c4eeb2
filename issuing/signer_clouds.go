//go:build !demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/mint/azurekeys"
	"github.com/gatepass/gatepass/mint/gcpkms"
)

func openGoogle(u *url.URL) (Signer, error) { return openedSigner(gcpkms.Open(u)) }
func openAzure(u *url.URL) (Signer, error)  { return openedSigner(azurekeys.Open(u)) }

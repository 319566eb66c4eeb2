//go:build !demo

package signer

import (
	"net/url"

	"github.com/gatepass/gatepass/mint/azurekeys"
	"github.com/gatepass/gatepass/mint/gcpkms"
)

func openGoogle(u *url.URL) (Signer, error) { return opened(gcpkms.Open(u)) }
func openAzure(u *url.URL) (Signer, error)  { return opened(azurekeys.Open(u)) }

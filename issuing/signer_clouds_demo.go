//go:build demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/internal/usererr"
)

// The clients of two clouds are half of what a first "make demo" compiles, and the demo
// does not use them.

func openGoogle(*url.URL) (Signer, error) { return nil, notInDemo("Google Cloud KMS") }
func openAzure(*url.URL) (Signer, error)  { return nil, notInDemo("Azure Key Vault") }

func notInDemo(what string) error {
	return usererr.New("open the signer", "the demo's gatepass was built without "+what, "run make build, and use bin/gatepass")
}

//go:build demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// The demo's store is a folder and its key is a file. The clients of the other stores and
// of two clouds are half of what a first "make demo" would compile.

func openGoogle(*url.URL) (Signer, error) { return nil, notInDemo("signer", "Google Cloud KMS") }
func openAzure(*url.URL) (Signer, error)  { return nil, notInDemo("signer", "Azure Key Vault") }

func openDynamoDB(*url.URL) (store.Store, error)   { return nil, notInDemo("store", "DynamoDB") }
func openKubernetes(*url.URL) (store.Store, error) { return nil, notInDemo("store", "Kubernetes") }
func openPostgres(*url.URL) (store.Store, error)   { return nil, notInDemo("store", "PostgreSQL") }

func notInDemo(what, part string) error {
	return usererr.New("open the "+what, "the demo's gatepass was built without "+part, "run make build and use bin/gatepass")
}

//go:build demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// The demo's store is a folder. Without the code that reads kubeconfigs, a first "make
// demo" has less to compile.
func openKubernetes(*url.URL) (store.Store, error) {
	return nil, usererr.New("open the store", "the demo's gatepass was built without Kubernetes", "run make build, and use bin/gatepass")
}

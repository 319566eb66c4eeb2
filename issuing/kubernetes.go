//go:build !demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/credential/kubernetesstore"
	"github.com/gatepass/gatepass/store"
)

func openKubernetes(u *url.URL) (store.Store, error) { return opened(kubernetesstore.OpenStore(u)) }

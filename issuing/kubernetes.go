//go:build !demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/kubernetes"
)

func openKubernetes(u *url.URL) (store.Store, error) { return opened(kubernetes.OpenStore(u)) }

//go:build !demo

package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/postgres"
)

func openPostgres(u *url.URL) (store.Store, error) { return opened(postgres.OpenStore(u)) }

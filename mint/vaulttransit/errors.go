package vaulttransit

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// errAbsent lies below the error about a key that is not there.
var errAbsent = errors.New("no such key")

// describe turns a refusal into one line; allow is what a policy has to. Other
// errors are lines already.
func (s *Signer) describe(what string, err error, allow string) error {
	r, ok := errors.AsType[*vaultclient.Refusal](err)
	if !ok {
		return err
	}
	said := strings.ToLower(r.Said)
	switch {
	case r.Status == http.StatusForbidden:
		return usererr.New(what, "permission denied"+r.Shown(), "have a policy of "+s.client.Identity()+" allow "+allow+", and check that "+s.mount+"/ is a transit engine")
	case strings.Contains(said, "no handler for route"), strings.Contains(said, "route entry not found"):
		return usererr.New(what, "there is no secrets engine at "+s.mount+"/", "correct the mount or the namespace: vault secrets list")
	case strings.Contains(said, "unsupported path"), strings.Contains(said, "versioned k/v"), r.Status == http.StatusMethodNotAllowed:
		return usererr.New(what, s.mount+"/ is no transit engine"+r.Shown(), "correct the mount: vault secrets list")
	case r.Status == http.StatusNotFound, strings.Contains(said, "key not found"):
		return &usererr.Error{Op: what, Reason: "there is no such key" + r.Shown(), Hint: "correct its name: vault list " + s.mount + "/keys", Err: errAbsent}
	}
	return usererr.New(what, fmt.Sprintf("Vault refuses (%d)", r.Status)+r.Shown(), "check the key: vault read "+s.mount+"/keys/"+s.key)
}

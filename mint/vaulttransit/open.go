package vaulttransit

import (
	"net/url"
	"path"
	"strings"

	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
)

const (
	scheme = "vault+transit"
	form   = "write vault+transit://MOUNT/KEY?addr=https://host[:port]&auth=METHOD"
)

// Open reads a signer's URL. Vault is asked, and the environment read, by the
// first Sign or PublicKey only.
func Open(u *url.URL) (*Signer, error) {
	what := "signer " + scheme + "://" + u.Host + u.Path
	switch {
	case u.Scheme != scheme:
		return nil, usererr.New("signer", "its scheme is not "+scheme, form)
	case u.User != nil || u.Opaque != "" || u.Fragment != "":
		return nil, usererr.New("signer "+scheme+"://"+u.Host, "a key's URL has no user, password or fragment", form)
	case u.Port() != "":
		return nil, usererr.New(what, "what follows "+scheme+":// is the mount, not the address", form)
	case u.Host == "" || !vaultclient.IsPath(u.Host+u.Path) || u.Path == "":
		return nil, usererr.New(what, "it names no key below a mount", form)
	case strings.ContainsAny(u.Path, "{}"):
		return nil, usererr.New(what, "it has a placeholder", "a signer is the App's, and no workspace's")
	}
	client, _, err := vaultclient.Open(what, u.RawQuery, "")
	if err != nil {
		return nil, err
	}
	full := u.Host + u.Path
	s := &Signer{mount: path.Dir(full), key: path.Base(full), client: client}
	s.Key = signer.Key{Look: s.look, Ask: s.sign, Name: s.name, Check: wrongServer}
	return s, nil
}

package gcpkms

import (
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
)

const (
	scheme = "gcpkms"
	form   = "write gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, and /cryptoKeyVersions/N for one version"
)

// Open reads a signer's URL. Google is asked, and the credentials read, by the
// first Sign or PublicKey only.
func Open(u *url.URL) (*Signer, error) {
	what, err := signer.CheckURL(u, scheme, form)
	if err != nil {
		return nil, err
	}
	key, version, ok := parseName(u.Host + u.Path)
	if !ok {
		return nil, usererr.New(what, "this is no key", form)
	}
	s := &Signer{key: key, version: version}
	s.client.Service, s.client.Host, s.client.Open, s.client.Close = "Google", host, s.client.open, (*connection).close
	s.Key = signer.Key{Look: s.look, Ask: s.sign, Name: name, Check: wrongServer, Pinned: true}
	return s, nil
}

// parseName reads the resource name of a key or of one of its versions
// (https://cloud.google.com/kms/docs/getting-resource-ids); version is "" for a
// key.
func parseName(name string) (key, version string, ok bool) {
	part := strings.Split(name, "/")
	if len(part) != 8 && len(part) != 10 {
		return "", "", false
	}
	for i, collection := range []string{"projects", "locations", "keyRings", "cryptoKeys"} {
		id := part[2*i+1]
		if part[2*i] != collection || !isID(id, collection == "projects") {
			return "", "", false
		}
	}
	key = strings.Join(part[:8], "/")
	if len(part) == 8 {
		return key, "", true
	}
	_, ok = numberOf(name, key)
	return key, name, ok
}

// maxID is more than any identifier of Cloud KMS or a project has, in bytes.
const maxID = 128

// isID takes letters, digits, hyphens and underscores; projects may have dots and
// a colon as well, from the time when they belonged to a domain.
func isID(s string, project bool) bool {
	marks := "-_"
	if project {
		marks += ".:"
	}
	return signer.IsName(s, marks, maxID) && s != "." && s != ".."
}

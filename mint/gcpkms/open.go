package gcpkms

import (
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/internal/oneline"
)

const (
	scheme = "gcpkms"
	form   = "write gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, and /cryptoKeyVersions/N for one version"
)

// Open reads a signer's URL. Google is asked, and the credentials read, by the
// first Sign or PublicKey only.
func Open(u *url.URL) (*Signer, error) {
	what := "signer " + scheme + "://" + u.Host + u.Path
	switch {
	case u.Scheme != scheme:
		return nil, oneline.New("signer", "its scheme is not "+scheme, form)
	case u.User != nil || u.Opaque != "" || u.Fragment != "":
		return nil, oneline.New("signer "+scheme+"://"+u.Host, "a key's URL has no user, password or fragment", form)
	case u.RawQuery != "" || u.ForceQuery:
		return nil, oneline.New(what, "it has a query, and a key needs none", "take the part from ? on away")
	}
	key, version, ok := parseName(u.Host + u.Path)
	if !ok {
		return nil, oneline.New(what, "this is no key", form)
	}
	return &Signer{key: key, version: version}, nil
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
	for i := 0; i < len(s); i++ {
		c := s[i]
		plain := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_'
		if !plain && (!project || c != '.' && c != ':') {
			return false
		}
	}
	return s != "" && s != "." && s != ".." && len(s) <= maxID
}

package apps

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// The forms of a key by provider.
var keyForms = map[v1.Provider]string{
	v1.ProviderAWS:   "alias/NAME, the key's id, or the ARN of either",
	v1.ProviderGCP:   "projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, with /cryptoKeyVersions/N for one version",
	v1.ProviderAzure: "https://NAME.vault.azure.net/keys/KEY, with /VERSION for one version",
	v1.ProviderVault: "MOUNT/sign/KEY, as in transit/sign/app",
}

// SignerURL returns the URL of a key in a KMS as [issuing.OpenSigner] takes it. The
// key decides nothing but which key it is: who signs, where that is and how Vault is
// logged in to are the operator's business. vault is the query that says so of Vault.
func SignerURL(provider v1.Provider, key, vault string) (string, error) {
	u, ok := &url.URL{}, false
	switch provider {
	case v1.ProviderAWS:
		u, ok = &url.URL{Scheme: "awskms", Path: "/" + key}, isPlain(key, ":/_-")
	case v1.ProviderGCP:
		rest, isName := strings.CutPrefix(key, "projects/")
		u, ok = &url.URL{Scheme: "gcpkms", Host: "projects", Path: "/" + rest}, isName && isPlain(key, ":/_-.")
	case v1.ProviderAzure:
		u, ok = azureURL(key)
	case v1.ProviderVault:
		u, ok = vaultURL(key, vault)
	default:
		return "", usererr.New("provider "+string(provider), "there is none of that name", "write aws, gcp, azure or vault")
	}
	if !ok {
		return "", usererr.New(fmt.Sprintf("key %q", key), "this is no key of provider "+string(provider), "write "+keyForms[provider])
	}
	return u.String(), nil
}

// isPlain takes letters, digits and marks in segments that are neither empty nor dots.
func isPlain(path, marks string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if strings.Trim(segment, ".") == "" {
			return false
		}
	}
	return signer.IsName(path, marks, maxKeyName)
}

// maxKeyName is the longest name of a key that an App can have.
const maxKeyName = 2048

// azureURL reads https://HOST/keys/KEY and https://HOST/keys/KEY/VERSION.
func azureURL(key string) (*url.URL, bool) {
	rest, isURL := strings.CutPrefix(key, "https://")
	host, path, hasKey := strings.Cut(rest, "/keys/")
	if !isURL || !hasKey || !signer.IsName(host, ".-", maxKeyName) || !isPlain(path, "/-") {
		return nil, false
	}
	return &url.URL{Scheme: "azurekeys", Host: host, Path: "/" + path}, true
}

// vaultURL reads MOUNT/sign/KEY, and MOUNT/KEY as the second system does. A sign
// elsewhere is a path with something else in mind.
func vaultURL(key, query string) (*url.URL, bool) {
	segments := strings.Split(key, "/")
	n := len(segments)
	if n < 2 || !isPlain(key, "/_-.") {
		return nil, false
	}
	mount, name := segments[:n-1], segments[n-1]
	if n > 2 && mount[n-2] == "sign" {
		mount = mount[:n-2]
	}
	path := slices.Concat(mount, []string{name})
	if slices.Contains(path, "sign") {
		return nil, false
	}
	return &url.URL{Scheme: "vault+transit", Host: path[0], Path: "/" + strings.Join(path[1:], "/"), RawQuery: query}, true
}

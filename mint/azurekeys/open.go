package azurekeys

import (
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"github.com/gatepass/gatepass/internal/oneline"
)

const (
	scheme = "azurekeys"
	form   = "write azurekeys://NAME.vault.azure.net/KEY, and /VERSION for one version"
)

// clouds say to which cloud a suffix of hosts belongs; what stands before it is the
// name of a vault or an HSM, without a dot. An access token is for the suffix, and
// would open every vault of its owner
// (https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates).
//
// The public cloud's zero value leaves AZURE_AUTHORITY_HOST its say.
var clouds = map[string]cloud.Configuration{
	"vault.azure.net":              {},
	"managedhsm.azure.net":         {},
	"vault.azure.cn":               cloud.AzureChina,
	"managedhsm.azure.cn":          cloud.AzureChina,
	"vault.usgovcloudapi.net":      cloud.AzureGovernment,
	"managedhsm.usgovcloudapi.net": cloud.AzureGovernment,
}

// Open reads a signer's URL. Azure is asked, and the credentials read, by the
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
	host := strings.ToLower(u.Host)
	name, suffix, _ := strings.Cut(host, ".")
	if _, known := clouds[suffix]; !known || !isName(name) {
		return nil, oneline.New(what, "its host is no Key Vault and no Managed HSM of Azure", form)
	}
	key, version, versioned := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !isName(key) || versioned && !isVersion(version) {
		return nil, oneline.New(what, "this is no key", form)
	}
	s := &Signer{host: host, key: key, version: strings.ToLower(version)}
	s.client.url, s.client.cloud = "https://"+host, clouds[suffix]
	return s, nil
}

// maxName is the longest name of a key in Key Vault; those of vaults are shorter.
const maxName = 127

// isName takes letters, digits and hyphens.
func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

// versionLength is that of what Key Vault calls a version, in characters.
const versionLength = 32

func isVersion(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) {
			return false
		}
	}
	return len(s) == versionLength
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

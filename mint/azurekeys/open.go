package azurekeys

import (
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
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
	what, err := signer.CheckURL(u, scheme, form)
	if err != nil {
		return nil, err
	}
	host := strings.ToLower(u.Host)
	name, suffix, _ := strings.Cut(host, ".")
	if _, known := clouds[suffix]; !known || !signer.IsName(name, "-", maxName) {
		return nil, usererr.New(what, "its host is no Key Vault and no Managed HSM of Azure", form)
	}
	key, version, versioned := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !signer.IsName(key, "-", maxName) || versioned && !isVersion(version) {
		return nil, usererr.New(what, "this is no key", form)
	}
	s := &Signer{host: host, key: key, version: strings.ToLower(version)}
	s.client.url, s.client.cloud = "https://"+host, clouds[suffix]
	s.client.Service, s.client.Host, s.client.Open = "Azure", host, s.client.open
	s.Key = signer.Key{Look: s.look, Ask: s.sign, Name: s.name, Check: wrongServer, Pinned: true}
	return s, nil
}

const (
	maxName       = 127 // the longest name of a key; those of vaults are shorter
	versionLength = 32  // of what Key Vault calls a version
)

func isVersion(s string) bool { return len(s) == versionLength && signer.IsName(s, "", versionLength) }

// Package azurekeys signs with a key in Azure Key Vault or Managed HSM. The key never
// leaves it:
//
//	azurekeys://VAULTHOST/KEY[/VERSION]
//
// VAULTHOST is NAME.vault.azure.net or NAME.managedhsm.azure.net; in the clouds of
// China and the US government, a name under vault.azure.cn, managedhsm.azure.cn,
// vault.usgovcloudapi.net or managedhsm.usgovcloudapi.net. An access token is sent to
// no other host.
//
// Without a version, the first Sign or PublicKey asks for the current one. The Signer
// then keeps that version; only a new Signer uses a newer one.
//
// The credentials are those of the Azure SDK's DefaultAzureCredential: the variables
// AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and similar ones, a workload
// identity, a managed identity, az login. AZURE_TOKEN_CREDENTIALS selects some of them.
//
// The identity needs the operations get and sign on keys. The roles Key Vault Crypto
// User and Managed HSM Crypto User have them.
package azurekeys

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/mint/signer"
)

// A Signer is one version of a key. Its [signer.Key] has Sign and PublicKey. The first
// call of either asks Key Vault for the version and its public half, which never
// changes.
type Signer struct {
	signer.Key
	host    string // in lower case
	key     string
	version string // "" for the current one
	client  keyVault
}

// name returns a name for errors of a version of the key, "" for the current one.
func (s *Signer) name(version string) string {
	id := s.host + "/" + s.key
	if version != "" {
		id += "/" + version
	}
	return "the Azure key " + id
}

// sign returns an error unless the answer is about the requested version.
func (s *Signer) sign(ctx context.Context, version string, digest [sha256.Size]byte) (signature []byte, by string, err error) {
	out, err := call(ctx, s, "sign with "+s.name(version), "sign", func(ctx context.Context, c *azkeys.Client) (out azkeys.SignResponse, err error) {
		out, err = c.Sign(ctx, s.key, version, azkeys.SignParameters{
			Algorithm: to.Ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:],
		}, nil)
		if err != nil {
			return out, err
		}
		if by, err = s.versionOf(out.KID); err != nil || by != version {
			return out, wrongKey(out.KID)
		}
		return out, nil
	})
	return out.Result, by, err
}

// publicKeys returns the version in the URL, or the current one.
func (s *Signer) publicKeys(ctx context.Context, _ string) (*signer.Versions, error) {
	var version string
	out, err := call(ctx, s, "look at "+s.name(s.version), "get", func(ctx context.Context, c *azkeys.Client) (out azkeys.GetKeyResponse, err error) {
		if out, err = c.GetKey(ctx, s.key, s.version, nil); err != nil {
			return out, err
		}
		if out.Key == nil {
			return out, signer.New("its answer has no key", wrongServer)
		}
		if version, err = s.versionOf(out.Key.KID); err != nil || s.version != "" && version != s.version {
			return out, wrongKey(out.Key.KID)
		}
		return out, nil
	})
	if err != nil {
		return nil, err
	}
	what := "look at " + s.name(version)
	if err := check(what, &out.KeyBundle); err != nil {
		return nil, err
	}
	key, err := parseJWK(out.Key)
	if err != nil {
		return nil, usererr.Wrap(what, err, makeKey)
	}
	return signer.One(version, key), nil
}

const (
	scheme = "azurekeys"
	form   = "write azurekeys://NAME.vault.azure.net/KEY, and /VERSION for one version"
)

// clouds maps a suffix of host names to its cloud. Before the suffix comes the name of
// a vault or an HSM, without a dot. An access token is for the suffix, and would open
// every vault of its owner
// (https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates).
//
// The public cloud is the zero value, so that AZURE_AUTHORITY_HOST still applies.
var clouds = map[string]cloud.Configuration{
	"vault.azure.net":              {},
	"managedhsm.azure.net":         {},
	"vault.azure.cn":               cloud.AzureChina,
	"managedhsm.azure.cn":          cloud.AzureChina,
	"vault.usgovcloudapi.net":      cloud.AzureGovernment,
	"managedhsm.usgovcloudapi.net": cloud.AzureGovernment,
}

// Open reads a signer's URL. The first Sign or PublicKey reads the credentials and
// calls Azure.
func Open(u *url.URL) (*Signer, error) {
	what, err := signer.CheckURL(u, scheme, form)
	if err != nil {
		return nil, err
	}
	host := strings.ToLower(u.Host)
	name, suffix, _ := strings.Cut(host, ".")
	if _, known := clouds[suffix]; !known || !signer.IsName(name, "-", maxName) {
		return nil, usererr.New(what, "its host is not a Key Vault or Managed HSM of Azure", form)
	}
	key, version, versioned := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !signer.IsName(key, "-", maxName) || versioned && !isVersion(version) {
		return nil, usererr.New(what, "this is not a key", form)
	}
	s := &Signer{host: host, key: key, version: strings.ToLower(version)}
	s.client.url, s.client.cloud = "https://"+host, clouds[suffix]
	s.client.Service, s.client.Host, s.client.Open = "Azure", host, s.client.open
	s.Key = signer.Key{PublicKeys: s.publicKeys, SignWith: s.sign, Name: s.name, Check: wrongServer, Pinned: true}
	return s, nil
}

const (
	maxName       = 127 // the longest name of a key; names of vaults are shorter
	versionLength = 32  // of a version in Key Vault
)

func isVersion(s string) bool { return len(s) == versionLength && signer.IsName(s, "", versionLength) }

var errOtherKey = errors.New("another key")

// versionOf parses the identifier of a version of the Signer's key, in lower case:
// identifiers are compared ignoring case
// (https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#object-identifiers).
func (s *Signer) versionOf(id *azkeys.ID) (string, error) {
	if id == nil {
		return "", errOtherKey
	}
	prefix := strings.ToLower("https://" + s.host + "/keys/" + s.key + "/")
	version, ok := strings.CutPrefix(strings.ToLower(string(*id)), prefix)
	if !ok || !isVersion(version) {
		return "", errOtherKey
	}
	return version, nil
}

func wrongKey(id *azkeys.ID) error {
	answered := "without a name"
	if id != nil {
		answered = string(*id)
	}
	return signer.New("the answer is for another key, "+usererr.Escape(answered), wrongServer)
}

// check returns an error if a version cannot sign for a GitHub App. The key itself
// states its length.
func check(what string, b *azkeys.KeyBundle) error {
	kind := azkeys.KeyType("")
	if b.Key.Kty != nil {
		kind = *b.Key.Kty
	}
	switch {
	case kind != azkeys.KeyTypeRSA && kind != azkeys.KeyTypeRSAHSM:
		return usererr.New(what, "its type is "+strconv.Quote(string(kind))+"; a GitHub App needs an RSA key", makeKey)
	case b.Attributes != nil && b.Attributes.Enabled != nil && !*b.Attributes.Enabled:
		return usererr.New(what, "the version is disabled", enable)
	case len(b.Key.KeyOps) > 0 && !slices.ContainsFunc(b.Key.KeyOps, isSign):
		return usererr.New(what, "this key cannot sign: sign is not among its operations (key_ops)", makeKey)
	}
	return nil
}

func isSign(o *azkeys.KeyOperation) bool { return o != nil && *o == azkeys.KeyOperationSign }

// parseJWK parses the public half of an RSA key (RFC 7518, section 6.3.1). It returns
// an error for a key that GitHub would refuse.
func parseJWK(k *azkeys.JSONWebKey) (*rsa.PublicKey, error) {
	e := new(big.Int).SetBytes(k.E)
	if len(k.N) > maxModulus || e.BitLen() > 31 {
		return nil, errors.New("its public key is damaged")
	}
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(k.N), E: int(e.Int64())})
	if err != nil {
		return nil, errors.New("its public key is damaged")
	}
	return mint.ParsePublicKey(der)
}

// maxModulus is the largest modulus that is parsed, in bytes; the longest RSA key of
// Key Vault is shorter.
const maxModulus = 1024

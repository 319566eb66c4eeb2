// Package azurekeys signs with a key in Azure Key Vault or Managed HSM, which
// never leaves it:
//
//	azurekeys://VAULTHOST/KEY[/VERSION]
//
// VAULTHOST is NAME.vault.azure.net or NAME.managedhsm.azure.net, or of the clouds
// of China and the US government the same under vault.azure.cn,
// managedhsm.azure.cn, vault.usgovcloudapi.net and managedhsm.usgovcloudapi.net. An
// access token is sent to no other host.
//
// Without a version it is the current one, which the first Sign or PublicKey asks
// for, and stays that one as long as the Signer does; a newer one is taken by
// another Signer only.
//
// The credentials are those of the Azure SDK's DefaultAzureCredential: the
// variables AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET and the like,
// a workload identity, a managed identity, az login. AZURE_TOKEN_CREDENTIALS picks
// some of them.
//
// The identity needs the operations get and sign on keys, which the roles Key Vault
// Crypto User and Managed HSM Crypto User have.
package azurekeys

import (
	"context"
	"crypto/sha256"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
)

// A Signer is one version of a key. Its [signer.Key] has Sign and PublicKey. The first
// of them asks Key Vault for the version and its public half, which never changes.
type Signer struct {
	signer.Key
	host    string // in lower case
	key     string
	version string // "" for the current one
	client  keyVault
}

// name is how errors name a version of the key, "" for the current one.
func (s *Signer) name(version string) string {
	id := s.host + "/" + s.key
	if version != "" {
		id += "/" + version
	}
	return "the Azure key " + id
}

// sign returns an error unless the answer is about the version that was asked.
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

// look returns the version of the URL, or the current one.
func (s *Signer) look(ctx context.Context, _ string) (*signer.Versions, error) {
	var version string
	out, err := call(ctx, s, "look at "+s.name(s.version), "get", func(ctx context.Context, c *azkeys.Client) (out azkeys.GetKeyResponse, err error) {
		if out, err = c.GetKey(ctx, s.key, s.version, nil); err != nil {
			return out, err
		}
		if out.Key == nil {
			return out, signer.New("its answer holds no key", wrongServer)
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

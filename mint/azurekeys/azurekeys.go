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
	"crypto/rsa"
	"crypto/sha256"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/remote"
	"github.com/gatepass/gatepass/mint"
)

// A Signer is one version of a key.
type Signer struct {
	host    string // in lower case
	key     string
	version string // "" for the current one
	client  lazy

	mu     sync.Mutex // guards public; held while it is asked for
	public *public
}

// public is the public half of the version that signs.
type public struct {
	version string
	key     *rsa.PublicKey
}

// PublicKey implements [mint.PublicKeyer]. The first call asks Key Vault, and
// returns an error unless the key can sign for a GitHub App; a version never
// changes its key.
func (s *Signer) PublicKey(ctx context.Context) (*rsa.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, remote.MaxWait)
	defer cancel()
	p, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	return p.key, nil
}

// Sign implements [mint.Signer]. What Key Vault answers has to be about the version
// that was asked, and is checked with its public half. Throttling and lost
// connections are tried again, never beyond ctx's deadline.
func (s *Signer) Sign(ctx context.Context, digest [sha256.Size]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, remote.MaxWait)
	defer cancel()
	p, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	t := s.task("sign with", p.version, "sign")
	out, err := call(ctx, s, t, func(ctx context.Context, c *azkeys.Client) (azkeys.SignResponse, error) {
		return c.Sign(ctx, s.key, p.version, azkeys.SignParameters{
			Algorithm: to.Ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:],
		}, nil)
	})
	if err != nil {
		return nil, err
	}
	if version, err := s.versionOf(out.KID); err != nil || version != p.version {
		return nil, wrongKey(t.what, out.KID)
	}
	if err := mint.CheckSignature(p.key, digest, out.Result); err != nil {
		return nil, oneline.Wrap(t.what, err, wrongServer)
	}
	return out.Result, nil
}

// known returns the version that signs.
func (s *Signer) known(ctx context.Context) (*public, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.public != nil {
		return s.public, nil
	}
	p, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	s.public = p
	return p, nil
}

func (s *Signer) fetch(ctx context.Context) (*public, error) {
	t := s.task("look at", s.version, "get")
	out, err := call(ctx, s, t, func(ctx context.Context, c *azkeys.Client) (azkeys.GetKeyResponse, error) {
		return c.GetKey(ctx, s.key, s.version, nil)
	})
	if err != nil {
		return nil, err
	}
	if out.Key == nil {
		return nil, oneline.New(t.what, "its answer holds no key", wrongServer)
	}
	version, err := s.versionOf(out.Key.KID)
	if err != nil || s.version != "" && version != s.version {
		return nil, wrongKey(t.what, out.Key.KID)
	}
	t = s.task("look at", version, "get")
	if err := t.check(&out.KeyBundle); err != nil {
		return nil, err
	}
	key, err := parseJWK(out.Key)
	if err != nil {
		return nil, oneline.Wrap(t.what, err, makeKey)
	}
	return &public{version, key}, nil
}

// Package gcpkms signs with a key in Google Cloud KMS, which never leaves it:
//
//	gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[/cryptoKeyVersions/V]
//
// Without a version it is the newest that is enabled: the one with the highest
// number of those that ListCryptoKeyVersions shows. It is chosen by the first Sign
// or PublicKey, and kept as long as the Signer is; a newer one is taken by another
// Signer only.
//
// The credentials are Google's application default credentials: the file that
// GOOGLE_APPLICATION_CREDENTIALS names, those of gcloud auth application-default
// login, or the service account of this machine.
//
// The identity needs cloudkms.cryptoKeyVersions.viewPublicKey and .useToSign on
// the key, which roles/cloudkms.signerVerifier has, and .list without a version in
// the URL, which roles/cloudkms.viewer has.
package gcpkms

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"sync"

	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/remote"
	"github.com/gatepass/gatepass/mint"
)

// A Signer is one version of a key.
type Signer struct {
	key     string // projects/…/cryptoKeys/K
	version string // key/cryptoKeyVersions/V; "" for the newest that is enabled
	client  lazy

	mu     sync.Mutex // guards public; held while it is asked for
	public *public
}

// public is the public half of the version that signs.
type public struct {
	version string
	key     *rsa.PublicKey
}

// PublicKey implements [mint.PublicKeyer]. The first call asks Cloud KMS, and
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

// Sign implements [mint.Signer]. What Cloud KMS received and what it answers is
// checked by CRC32C, by the name of the version, and by the public half of the
// key. Damaged answers, exhausted quotas and lost connections are tried again,
// never beyond ctx's deadline.
func (s *Signer) Sign(ctx context.Context, digest [sha256.Size]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, remote.MaxWait)
	defer cancel()
	p, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	t := task{"sign with the Google Cloud KMS key " + p.version, signPermission}
	signature, err := call(ctx, s, t, func(ctx context.Context, c *kms.KeyManagementClient) ([]byte, error) {
		out, err := c.AsymmetricSign(ctx, &kmspb.AsymmetricSignRequest{
			Name:         p.version,
			Digest:       &kmspb.Digest{Digest: &kmspb.Digest_Sha256{Sha256: digest[:]}},
			DigestCrc32C: checksum(digest[:]),
		})
		if err != nil {
			return nil, err
		}
		return out.GetSignature(), wholeSignature(out, p.version)
	})
	if err != nil {
		return nil, err
	}
	if err := mint.CheckSignature(p.key, digest, signature); err != nil {
		return nil, oneline.Wrap(t.what, err, wrongServer)
	}
	return signature, nil
}

// known returns the version that signs.
func (s *Signer) known(ctx context.Context) (*public, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.public != nil {
		return s.public, nil
	}
	version := s.version
	if version == "" {
		var err error
		if version, err = s.newest(ctx); err != nil {
			return nil, err
		}
	}
	key, err := s.fetch(ctx, version)
	if err != nil {
		return nil, err
	}
	s.public = &public{version, key}
	return s.public, nil
}

func (s *Signer) fetch(ctx context.Context, version string) (*rsa.PublicKey, error) {
	t := task{"look at the Google Cloud KMS key " + version, lookPermission}
	out, err := call(ctx, s, t, func(ctx context.Context, c *kms.KeyManagementClient) (*kmspb.PublicKey, error) {
		out, err := c.GetPublicKey(ctx, &kmspb.GetPublicKeyRequest{Name: version})
		if err != nil {
			return nil, err
		}
		return out, wholePublic(out, version)
	})
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithm(out.GetAlgorithm()); err != nil {
		return nil, oneline.Wrap(t.what, err, makeKey)
	}
	key, err := parsePublic(out.GetPem())
	if err != nil {
		return nil, oneline.Wrap(t.what, err, makeKey)
	}
	return key, nil
}

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
	"crypto/sha256"

	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
)

// A Signer is one version of a key. Its [signer.Key] has Sign and PublicKey. The first
// of them asks Cloud KMS for the version and its public half, which never changes.
type Signer struct {
	signer.Key
	key     string // projects/…/cryptoKeys/K
	version string // key/cryptoKeyVersions/V; "" for the newest that is enabled
	client  cloudKMS
}

// host answers for Cloud KMS.
const host = "cloudkms.googleapis.com"

func name(version string) string { return "the Google Cloud KMS key " + version }

// sign checks what Cloud KMS received and what it answers by CRC32C and by the name
// of the version.
func (s *Signer) sign(ctx context.Context, version string, digest [sha256.Size]byte) (signature []byte, by string, err error) {
	signature, err = call(ctx, s, "sign with "+name(version), signPermission, func(ctx context.Context, c *kms.KeyManagementClient) ([]byte, error) {
		out, err := c.AsymmetricSign(ctx, &kmspb.AsymmetricSignRequest{
			Name:         version,
			Digest:       &kmspb.Digest{Digest: &kmspb.Digest_Sha256{Sha256: digest[:]}},
			DigestCrc32C: checksum(digest[:]),
		})
		if err != nil {
			return nil, err
		}
		return out.GetSignature(), wholeSignature(out, version)
	})
	return signature, version, err
}

// look returns the version of the URL, or the newest that is enabled.
func (s *Signer) look(ctx context.Context, _ string) (*signer.Versions, error) {
	version := s.version
	if version == "" {
		var err error
		if version, err = s.newest(ctx); err != nil {
			return nil, err
		}
	}
	what := "look at " + name(version)
	out, err := call(ctx, s, what, lookPermission, func(ctx context.Context, c *kms.KeyManagementClient) (*kmspb.PublicKey, error) {
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
		return nil, usererr.Wrap(what, err, makeKey)
	}
	key, err := signer.ParsePEM(out.GetPem())
	if err != nil {
		return nil, usererr.Wrap(what, err, makeKey)
	}
	return signer.One(version, key), nil
}

// Package gcpkms signs with a key in Google Cloud KMS. The key never leaves KMS:
//
//	gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[/cryptoKeyVersions/V]
//
// Without a version, the first Sign or PublicKey chooses the newest enabled one: the
// highest number that ListCryptoKeyVersions shows. The Signer then keeps that version;
// only a new Signer uses a newer one.
//
// The credentials are Google's application default credentials: the file that
// GOOGLE_APPLICATION_CREDENTIALS names, those of gcloud auth application-default
// login, or the service account of this machine.
//
// The identity needs cloudkms.cryptoKeyVersions.viewPublicKey and .useToSign on the
// key, which roles/cloudkms.signerVerifier has; for a URL without a version also .list,
// which roles/cloudkms.viewer has.
package gcpkms

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"net/url"
	"strconv"
	"strings"

	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A Signer is one version of a key. Its [signer.Key] has Sign and PublicKey. The first
// call of either asks Cloud KMS for the version and its public half, which never
// changes.
type Signer struct {
	signer.Key
	key     string // projects/…/cryptoKeys/K
	version string // key/cryptoKeyVersions/V; "" for the newest enabled one
	client  cloudKMS
}

// host is the host of Cloud KMS.
const host = "cloudkms.googleapis.com"

func name(version string) string { return "the Google Cloud KMS key " + version }

// sign checks with CRC32C, and by the name of the version, what Cloud KMS received and
// what it answers.
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
		return out.GetSignature(), checkSignature(out, version)
	})
	return signature, version, err
}

// publicKeys returns the version in the URL, or the newest enabled one.
func (s *Signer) publicKeys(ctx context.Context, _ string) (*signer.Versions, error) {
	version := s.version
	if version == "" {
		var err error
		if version, err = s.newest(ctx); err != nil {
			return nil, err
		}
	}
	what := "look at " + name(version)
	out, err := call(ctx, s, what, publicKeyPermission, func(ctx context.Context, c *kms.KeyManagementClient) (*kmspb.PublicKey, error) {
		out, err := c.GetPublicKey(ctx, &kmspb.GetPublicKeyRequest{Name: version})
		if err != nil {
			return nil, err
		}
		return out, checkPublicKey(out, version)
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

const (
	scheme = "gcpkms"
	form   = "write gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, and /cryptoKeyVersions/N for one version"
)

// Open reads a signer's URL. The first Sign or PublicKey reads the credentials and
// calls Google.
func Open(u *url.URL) (*Signer, error) {
	what, err := signer.CheckURL(u, scheme, form)
	if err != nil {
		return nil, err
	}
	key, version, ok := parseName(u.Host + u.Path)
	if !ok {
		return nil, usererr.New(what, "this is not a key", form)
	}
	s := &Signer{key: key, version: version}
	s.client.Service, s.client.Host, s.client.Open, s.client.Close = "Google", host, s.client.open, (*connection).close
	s.Key = signer.Key{PublicKeys: s.publicKeys, SignWith: s.sign, Name: name, Check: wrongServer, Pinned: true}
	return s, nil
}

// parseName parses the resource name of a key or of one of its versions
// (https://cloud.google.com/kms/docs/getting-resource-ids); version is "" for a key.
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

// maxID is more than the length of any identifier in Cloud KMS or of a project, in
// bytes.
const maxID = 128

// isID accepts letters, digits, hyphens and underscores; in projects also dots and a
// colon, from the time when projects belonged to a domain.
func isID(s string, project bool) bool {
	marks := "-_"
	if project {
		marks += ".:"
	}
	return signer.IsName(s, marks, maxID) && s != "." && s != ".."
}

// enabled is a filter for lists
// (https://cloud.google.com/kms/docs/sorting-and-filtering).
const enabled = "state=ENABLED"

// newest returns the name of the newest enabled version. Versions are numbered from 1
// in the order of their creation.
func (s *Signer) newest(ctx context.Context) (string, error) {
	what := "choose a version of " + name(s.key)
	number, err := call(ctx, s, what, listPermission, func(ctx context.Context, c *kms.KeyManagementClient) (uint64, error) {
		var newest uint64
		versions := c.ListCryptoKeyVersions(ctx, &kmspb.ListCryptoKeyVersionsRequest{Parent: s.key, Filter: enabled})
		for {
			v, err := versions.Next()
			if errors.Is(err, iterator.Done) {
				return newest, nil
			}
			if err != nil {
				return 0, err
			}
			number, ok := numberOf(v.GetName(), s.key)
			if !ok {
				return 0, wrongKey(v.GetName())
			}
			if v.GetState() == kmspb.CryptoKeyVersion_ENABLED {
				newest = max(newest, number)
			}
		}
	})
	switch {
	case err != nil:
		return "", err
	case number == 0:
		return "", usererr.New(what, "no version of it is enabled", "import the App's key as a version, or enable one: gcloud kms keys versions enable")
	}
	return s.key + infix + strconv.FormatUint(number, 10), nil
}

// infix is between a key and the number of its version.
const infix = "/cryptoKeyVersions/"

// numberOf parses the name of a version of key. There is no version 0.
func numberOf(name, key string) (number uint64, ok bool) {
	text, ok := strings.CutPrefix(name, key+infix)
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(text, 10, 63)
	return number, err == nil && strconv.FormatUint(number, 10) == text && number > 0
}

// Cloud KMS protects requests and answers with CRC32C
// (https://cloud.google.com/kms/docs/data-integrity-guidelines).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(data, castagnoli)))
}

// fits reports whether sum is set and is the checksum of data.
func fits(data []byte, sum *wrapperspb.Int64Value) bool {
	return sum != nil && sum.GetValue() == checksum(data).GetValue()
}

// damage returns the problem of a wrong checksum: data was lost or changed on the way,
// and another attempt may succeed.
func damage(why string) *signer.Problem {
	return signer.Passing(why, "try again; if it happens again, "+wrongServer, 0)
}

// wrongKey returns the problem of an answer about another version than the requested
// one.
func wrongKey(answered string) *signer.Problem {
	return signer.New("the answer is for another key, "+usererr.Escape(answered), wrongServer)
}

// checkSignature returns an error unless out answers the digest, which arrived
// complete, for that version.
func checkSignature(out *kmspb.AsymmetricSignResponse, version string) error {
	switch {
	case out.GetName() != version:
		return wrongKey(out.GetName())
	case !out.GetVerifiedDigestCrc32C():
		return damage("Cloud KMS did not verify the checksum of the digest")
	case !fits(out.GetSignature(), out.GetSignatureCrc32C()):
		return damage("the signature does not match its checksum")
	}
	return nil
}

func checkPublicKey(out *kmspb.PublicKey, version string) error {
	switch {
	case out.GetName() != version:
		return wrongKey(out.GetName())
	case !fits([]byte(out.GetPem()), out.GetPemCrc32C()):
		return damage("the public key does not match its checksum")
	}
	return nil
}

// checkAlgorithm returns an error if a version cannot sign for a GitHub App, which
// needs RS256. A version has one algorithm
// (https://cloud.google.com/kms/docs/algorithms#rsa_signing_algorithms).
func checkAlgorithm(a kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm) error {
	switch a {
	case kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_2048_SHA256,
		kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_3072_SHA256,
		kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_4096_SHA256:
		return nil
	}
	return fmt.Errorf("its algorithm is %s; a GitHub App needs RSA_SIGN_PKCS1_2048_SHA256, or 3072 or 4096 bits", a)
}

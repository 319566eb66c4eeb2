package gcpkms

import (
	"fmt"
	"hash/crc32"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
)

// Cloud KMS protects what it is sent and what it answers by CRC32C
// (https://cloud.google.com/kms/docs/data-integrity-guidelines).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(data, castagnoli)))
}

// fits reports whether sum is there and is that of data.
func fits(data []byte, sum *wrapperspb.Int64Value) bool {
	return sum != nil && sum.GetValue() == checksum(data).GetValue()
}

// damage is what a checksum shows: something was lost or changed on the way, which
// another attempt may cure.
func damage(why string) *signer.Problem {
	return signer.Passing(why, "try again; when it stays so, "+wrongServer, 0)
}

// wrongKey is an answer about another version than the one asked for.
func wrongKey(answered string) *signer.Problem {
	return signer.New("the answer is of another key, "+usererr.Escape(answered), wrongServer)
}

// wholeSignature returns an error unless out is the answer to a digest that arrived
// whole, for that version.
func wholeSignature(out *kmspb.AsymmetricSignResponse, version string) error {
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

func wholePublic(out *kmspb.PublicKey, version string) error {
	switch {
	case out.GetName() != version:
		return wrongKey(out.GetName())
	case !fits([]byte(out.GetPem()), out.GetPemCrc32C()):
		return damage("the public key does not match its checksum")
	}
	return nil
}

// checkAlgorithm reports why a version cannot sign for a GitHub App, which signs
// RS256. A version has one algorithm
// (https://cloud.google.com/kms/docs/algorithms#rsa_signing_algorithms).
func checkAlgorithm(a kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm) error {
	switch a {
	case kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_2048_SHA256,
		kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_3072_SHA256,
		kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_4096_SHA256:
		return nil
	}
	return fmt.Errorf("its algorithm is %s; GitHub Apps sign with RSA_SIGN_PKCS1_2048_SHA256, or 3072 or 4096 bits", a)
}

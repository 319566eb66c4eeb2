package mint

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
)

// A PublicKeyer is a Signer that can show the public half of the key it signs
// with next. All of gatepass's signers can.
type PublicKeyer interface {
	PublicKey(ctx context.Context) (*rsa.PublicKey, error)
}

// ParsePublicKey reads the public half of a key as a KMS hands it out, a
// SubjectPublicKeyInfo (RFC 5280) in DER. It has to be one that GitHub takes.
func ParsePublicKey(der []byte) (*rsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("its public key is damaged")
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("its key is not RSA, the only kind GitHub Apps have")
	}
	if key.N.BitLen() < minKeyBits {
		return nil, fmt.Errorf("the key has %d bits, fewer than %d", key.N.BitLen(), minKeyBits)
	}
	return key, nil
}

// CheckSignature returns an error unless signature is what a [Signer] with that
// key returns for digest. A nil key has none.
func CheckSignature(key *rsa.PublicKey, digest [sha256.Size]byte, signature []byte) error {
	if key == nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) != nil {
		return errors.New("the signature is not the key's for what was to be signed")
	}
	return nil
}

// Fingerprint names a key as the App's settings page at GitHub does: SHA256:
// and the base64 of the hash of its SubjectPublicKeyInfo
// (https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/managing-private-keys-for-github-apps#verifying-private-keys).
func Fingerprint(key *rsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "" // only for kinds of keys that it does not know
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + base64.StdEncoding.EncodeToString(sum[:])
}

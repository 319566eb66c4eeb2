package mint

import (
	"crypto/rsa"
	"crypto/x509"

	"github.com/gatepass/gatepass/internal/keywrap"
)

// Wrap returns the private key, as PKCS#8 in DER, encrypted for a KMS that shows
// the public half of a wrapping key: the one form in which a key leaves its
// KeySigner. See package keywrap for the encryption.
func (s *KeySigner) Wrap(wrapping *rsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return keywrap.Wrap(wrapping, der)
}

package mint

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"testing"

	"github.com/gatepass/gatepass/internal/keywrap"
)

func TestWrapIsReadableByTheWrappingKeyOnly(t *testing.T) {
	wrapping, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := (&KeySigner{testKey}).Wrap(&wrapping.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, testKey.D.Bytes()[:16]) {
		t.Error("the private exponent is in the clear")
	}
	der, err := keywrap.Unwrap(wrapping, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err != nil || !testKey.Equal(key) {
		t.Errorf("what was wrapped is %T, %v, want the key", key, err)
	}
}

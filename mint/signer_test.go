package mint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/internal/keywrap"
	"github.com/gatepass/gatepass/test/testkey"
)

// brokenSigner is a KMS that cannot be reached.
type brokenSigner struct{}

func (brokenSigner) Sign(context.Context, [sha256.Size]byte) ([]byte, error) {
	return nil, errors.New("the KMS is asleep")
}

func TestReadPEMReturnsTheKeyAlone(t *testing.T) {
	text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey)}))
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, []byte("Key of the App:\r\n"+text+"and a note\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key, block, err := ReadPEM(path)
	if err != nil || string(block) != text || !key.Public().Equal(&testKey.PublicKey) {
		t.Errorf("ReadPEM = %v, %d bytes, %v, want the key and its block", key, len(block), err)
	}
	if _, _, err := ReadPEM(path + "x"); err == nil || strings.Count(err.Error(), path) != 1 {
		t.Errorf("ReadPEM of no file = %v, want an error that names it", err)
	}
}

func TestWrapIsReadableByTheWrappingKeyOnly(t *testing.T) {
	wrapping := testkey.RSA(2048, 1)
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

package mint

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A Signer signs for one GitHub App without showing its key.
//
// Implementations are an RSA key in memory, AWS KMS, Google Cloud KMS, Azure
// Key Vault and Vault transit.
type Signer interface {
	// Sign returns the RSASSA-PKCS1-v1_5 signature of a SHA-256 digest.
	Sign(ctx context.Context, digest [sha256.Size]byte) (signature []byte, err error)
}

// minKeyBits is the least modulus GitHub's own keys have.
const minKeyBits = 2048

// A KeySigner holds the App's private key in memory. It cannot print it.
type KeySigner struct{ key *rsa.PrivateKey }

// ParseKey reads a PEM block with an RSA private key, PKCS#1 as GitHub hands it
// out or PKCS#8. It never takes its argument for a file name.
func ParseKey(text []byte) (*KeySigner, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it holds no PEM block")
	}
	key, err := parseBlock(block)
	if err != nil {
		return nil, err
	}
	if key.N.BitLen() < minKeyBits {
		return nil, fmt.Errorf("the key has %d bits, fewer than %d", key.N.BitLen(), minKeyBits)
	}
	return &KeySigner{key}, nil
}

func parseBlock(block *pem.Block) (*rsa.PrivateKey, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("its PKCS#1 key is damaged")
		}
		return key, nil
	case "PRIVATE KEY":
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("its PKCS#8 key is damaged")
		}
		key, ok := parsed.(*rsa.PrivateKey)
		if !ok {
			return nil, errors.New("its key is not RSA, the only kind GitHub Apps have")
		}
		return key, nil
	}
	return nil, fmt.Errorf("its PEM block is a %q, not a private key", block.Type)
}

// maxKeyFile bounds a key file; a 4096-bit key in PEM is 3.2 KiB.
const maxKeyFile = 64 << 10

// ReadKey reads a PEM file that only its owner can use.
func ReadKey(path string) (*KeySigner, error) {
	key, _, err := ReadPEM(path)
	return key, err
}

// ReadPEM is ReadKey for those who keep the key elsewhere: it returns the key's
// PEM block as well, without what else the file holds.
func ReadPEM(path string) (*KeySigner, []byte, error) {
	// Opening it or naming it in an error would repeat the key.
	if strings.Contains(path, "-----BEGIN") {
		return nil, nil, errors.New("this is the key itself and not the path of its file; clear it from your shell's history, and name the file")
	}
	text, err := readPrivate(path)
	if err != nil {
		return nil, nil, err
	}
	defer clear(text)
	key, err := ParseKey(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	block, _ := pem.Decode(text) // as ParseKey did
	return key, pem.EncodeToMemory(block), nil
}

// readPrivate reads a small file that only its owner can use.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s must be a regular file that only its owner can use (mode %04o); run chmod 600 on it", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		clear(text)
		return nil, fmt.Errorf("%s is longer than %d bytes; a key has about four thousand", path, maxKeyFile)
	}
	return text, err
}

// Sign implements Signer.
func (s *KeySigner) Sign(_ context.Context, digest [sha256.Size]byte) ([]byte, error) {
	return rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, digest[:])
}

// Public returns the public half, to compare with what a KMS holds.
func (s *KeySigner) Public() *rsa.PublicKey { return &s.key.PublicKey }

// PublicKey implements [PublicKeyer].
func (s *KeySigner) PublicKey(context.Context) (*rsa.PublicKey, error) { return s.Public(), nil }

// String keeps the key out of every format.
func (s *KeySigner) String() string { return "RSA private key" }

// GoString is String, for %#v.
func (s *KeySigner) GoString() string { return s.String() }

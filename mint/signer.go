package mint

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/keywrap"
)

// A Signer signs for one GitHub App without revealing its key.
//
// Implementations are an RSA key in memory, AWS KMS, Google Cloud KMS, Azure
// Key Vault and Vault transit.
type Signer interface {
	// Sign returns the RSASSA-PKCS1-v1_5 signature of a SHA-256 digest.
	Sign(ctx context.Context, digest [sha256.Size]byte) (signature []byte, err error)
}

// minKeyBits is the smallest modulus of GitHub's own keys.
const minKeyBits = 2048

// A KeySigner holds the App's private key in memory. It cannot print it.
type KeySigner struct{ key *rsa.PrivateKey }

// ParseKey parses a PEM block with an RSA private key, PKCS#1 as GitHub provides it or
// PKCS#8. It never takes its argument as a file name.
func ParseKey(text []byte) (*KeySigner, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it has no PEM block")
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
			return nil, errors.New("it must be an RSA key, as all keys of GitHub Apps")
		}
		return key, nil
	}
	return nil, fmt.Errorf("its PEM block is %q, not a private key", block.Type)
}

// maxKeyFile is the largest key file, in bytes; a 4096-bit key in PEM takes 3.2 KiB.
const maxKeyFile = 64 << 10

// ReadKey reads a PEM file, and refuses one that other users can read.
func ReadKey(path string) (*KeySigner, error) {
	key, _, err := ReadPEM(path)
	return key, err
}

// ReadPEM is like ReadKey, for callers that store the key elsewhere: it also returns
// the key's PEM block, without the rest of the file.
func ReadPEM(path string) (*KeySigner, []byte, error) {
	// Opening it, or naming it in an error, would repeat the key.
	if strings.Contains(path, "-----BEGIN") {
		return nil, nil, errors.New("this is the key itself, not the path of its file; delete it from the shell's history, and name the file")
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

// readPrivate reads a small file, and refuses one that other users can read.
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
		return nil, fmt.Errorf("%s must be a regular file that only its owner can use, not of mode %04o; run chmod 600 on it", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		clear(text)
		return nil, fmt.Errorf("%s is longer than %d bytes; name the file of the key", path, maxKeyFile)
	}
	return text, err
}

// Sign implements [Signer].
func (s *KeySigner) Sign(_ context.Context, digest [sha256.Size]byte) ([]byte, error) {
	return rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, digest[:])
}

// Public returns the public half, to compare with the key in a KMS.
func (s *KeySigner) Public() *rsa.PublicKey { return &s.key.PublicKey }

// PublicKey implements [PublicKeyer].
func (s *KeySigner) PublicKey(context.Context) (*rsa.PublicKey, error) { return s.Public(), nil }

// String returns a text without the key, for every format.
func (s *KeySigner) String() string { return "RSA private key" }

// GoString is like String, for %#v.
func (s *KeySigner) GoString() string { return s.String() }

// A PublicKeyer is a Signer that can return the public half of the key with which it
// signs next. All signers of gatepass can.
type PublicKeyer interface {
	PublicKey(ctx context.Context) (*rsa.PublicKey, error)
}

// ParsePublicKey parses the public half of a key in the format of KMSs, a
// SubjectPublicKeyInfo (RFC 5280) in DER. It returns an error for a key that GitHub
// would refuse.
func ParsePublicKey(der []byte) (*rsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("its public key is damaged")
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("it must be an RSA key, as all keys of GitHub Apps")
	}
	if key.N.BitLen() < minKeyBits {
		return nil, fmt.Errorf("the key has %d bits, fewer than %d", key.N.BitLen(), minKeyBits)
	}
	return key, nil
}

// CheckSignature returns an error unless signature is a signature of digest by a
// [Signer] with that key. For a nil key it always returns an error.
func CheckSignature(key *rsa.PublicKey, digest [sha256.Size]byte, signature []byte) error {
	if key == nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) != nil {
		return errors.New("the signature does not fit the key and the signed data")
	}
	return nil
}

// Fingerprint returns a key's name on the App's settings page at GitHub: SHA256: and
// the base64 of the hash of its SubjectPublicKeyInfo
// (https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/managing-private-keys-for-github-apps#verifying-private-keys).
func Fingerprint(key *rsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "" // fails only for unknown kinds of keys
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + base64.StdEncoding.EncodeToString(sum[:])
}

// Wrap returns the private key, as PKCS#8 in DER, encrypted for a KMS with the public
// half wrapping of its wrapping key. The key leaves its KeySigner in no other form. See
// package keywrap for the encryption.
func (s *KeySigner) Wrap(wrapping *rsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return keywrap.Wrap(wrapping, der)
}

// GitHub refuses a JWT that lives longer than ten minutes, or whose issue time is in
// its future; a minute in each direction allows for clock differences
// (https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).
const (
	jwtBackdate = time.Minute
	jwtLife     = 9 * time.Minute
	jwtReserve  = time.Minute // how long before its expiry it is no longer used
)

// A jwtCache keeps the App's JWT, signed once and used until shortly before its expiry:
// a thousand mints cost one signature every eight minutes.
type jwtCache struct {
	mu      sync.Mutex // guards the rest; held while signing, so that one signature serves all
	text    string
	expires time.Time     // by this machine's clock
	ahead   time.Duration // how far our clock was ahead of GitHub's
}

// token returns a JWT that GitHub should accept. ahead is how far our clock, which
// shows now, is ahead of GitHub's.
func (p *jwtCache) token(ctx context.Context, issuer string, signer Signer, now time.Time, ahead time.Duration) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text != "" && clock.Left(p.expires, now) > jwtReserve && (ahead-p.ahead).Abs() < jwtBackdate/2 {
		return p.text, nil
	}
	text, err := signJWT(ctx, issuer, signer, now.Add(-ahead))
	if err != nil {
		return "", fmt.Errorf("sign the App's JWT: %w", err)
	}
	p.text, p.expires, p.ahead = text, now.Add(jwtLife), ahead
	return text, nil
}

// signJWT returns a JWT (RFC 7519), signed with RS256.
func signJWT(ctx context.Context, issuer string, signer Signer, now time.Time) (string, error) {
	claims, err := json.Marshal(struct {
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		Issuer   string `json:"iss"`
	}{now.Add(-jwtBackdate).Unix(), now.Add(jwtLife).Unix(), issuer})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	head := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	signature, err := signer.Sign(ctx, sha256.Sum256([]byte(head)))
	if err != nil {
		return "", err
	}
	return head + "." + encode(signature), nil
}

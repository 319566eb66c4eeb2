// Package keywrap wraps a private key for its import into a KMS: RSA-OAEP with SHA-256
// encrypts an AES-256 key that is used once, and that key wraps the private key as in
// RFC 5649. PKCS#11 calls this CKM_RSA_AES_KEY_WRAP and AWS RSA_AES_KEY_WRAP_SHA_256;
// Vault's transit engine accepts the same.
//
// The wrapping of RFC 5649 is implemented here. Package kwp/subtle of tink-go 2.9.0
// would save 71 lines, need no other module and add no byte to a program. But it
// refuses AES keys of 192 bits and secrets of fewer than 16 bytes, so it cannot be
// tested with the examples of the RFC, as this package is.
package keywrap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"math"
)

const (
	block   = 8  // bytes; what RFC 3394 calls a semiblock
	aesSize = 32 // bytes of the AES key that is used once
)

// magic starts the alternative initial value of RFC 5649, section 3.
const magic = 0xA65959A6

// Wrap encrypts secret for the holder of the private key of public.
func Wrap(public *rsa.PublicKey, secret []byte) ([]byte, error) {
	kek := make([]byte, aesSize)
	defer clear(kek)
	_, _ = rand.Read(kek) // never fails (crypto/rand)
	head, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, kek, nil)
	if err != nil {
		return nil, err
	}
	tail, err := wrapPadded(kek, secret)
	if err != nil {
		return nil, err
	}
	return append(head, tail...), nil
}

// Unwrap reverses Wrap; doubles of a KMS need it.
func Unwrap(private *rsa.PrivateKey, wrapped []byte) ([]byte, error) {
	size := private.Size()
	if len(wrapped) < size {
		return nil, errShort
	}
	kek, err := rsa.DecryptOAEP(sha256.New(), nil, private, wrapped[:size], nil)
	if err != nil {
		return nil, err
	}
	if len(kek) != aesSize {
		return nil, errors.New("the wrapping key must be an AES-256 key")
	}
	return unwrapPadded(kek, wrapped[size:])
}

var (
	errShort   = errors.New("the wrapped key is incomplete")
	errDamaged = errors.New("the wrapped key is damaged")
)

// wrapPadded wraps as in RFC 5649, section 4.1.
func wrapPadded(kek, secret []byte) ([]byte, error) {
	c, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(secret) == 0 || len(secret) > math.MaxInt32 {
		return nil, errors.New("the key is empty or too long to be wrapped")
	}
	out := make([]byte, block+(len(secret)+block-1)/block*block)
	binary.BigEndian.PutUint32(out, magic)
	binary.BigEndian.PutUint32(out[4:], uint32(len(secret)))
	copy(out[block:], secret)
	if len(out) == aes.BlockSize {
		c.Encrypt(out, out)
		return out, nil
	}
	wrapBlocks(c, out)
	return out, nil
}

// wrapBlocks wraps as in RFC 3394, section 2.2.1, in place: out starts with the initial
// value.
func wrapBlocks(c cipher.Block, out []byte) {
	var b [aes.BlockSize]byte
	n := len(out)/block - 1
	for j := range 6 {
		for i := 1; i <= n; i++ {
			copy(b[:block], out)
			copy(b[block:], out[i*block:])
			c.Encrypt(b[:], b[:])
			binary.BigEndian.PutUint64(out, binary.BigEndian.Uint64(b[:])^uint64(n*j+i))
			copy(out[i*block:(i+1)*block], b[block:])
		}
	}
}

// unwrapPadded unwraps as in RFC 5649, section 4.2.
func unwrapPadded(kek, wrapped []byte) ([]byte, error) {
	c, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(wrapped) < aes.BlockSize || len(wrapped)%block != 0 {
		return nil, errShort
	}
	out := append([]byte(nil), wrapped...)
	if len(out) == aes.BlockSize {
		c.Decrypt(out, out)
	} else {
		unwrapBlocks(c, out)
	}
	size := int(binary.BigEndian.Uint32(out[4:]))
	secret := out[block:]
	if binary.BigEndian.Uint32(out) != magic || size > len(secret) || size <= len(secret)-block {
		return nil, errDamaged
	}
	var none [block]byte
	if padding := secret[size:]; subtle.ConstantTimeCompare(padding, none[:len(padding)]) != 1 {
		return nil, errDamaged
	}
	return secret[:size], nil
}

func unwrapBlocks(c cipher.Block, out []byte) {
	var b [aes.BlockSize]byte
	n := len(out)/block - 1
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(out)^uint64(n*j+i))
			copy(b[block:], out[i*block:(i+1)*block])
			c.Decrypt(b[:], b[:])
			copy(out[:block], b[:block])
			copy(out[i*block:], b[block:])
		}
	}
}

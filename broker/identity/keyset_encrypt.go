package identity

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"strconv"

	"github.com/gatepass/gatepass/store"
)

// Encrypt returns a text that only a broker of the store can read, by Decrypt, for as
// long as what Seal returns. What was encrypted for one purpose is forged for the
// others.
func (s *Keyset) Encrypt(ctx context.Context, purpose string, payload []byte) (string, error) {
	today := dayOf(s.now())
	k, err := s.key(ctx, today, true)
	if err != nil {
		return "", err
	}
	aead, err := cipherFor(k, purpose)
	if err != nil {
		return "", err
	}
	of := strconv.FormatInt(today, 10)
	return encoding.EncodeToString(aead.Seal(nil, nil, payload, []byte(of))) + "." + of, nil
}

// Decrypt returns the payload of a text that Encrypt made for the purpose. Its error
// wraps ErrForged, unless the store cannot be read.
func (s *Keyset) Decrypt(ctx context.Context, purpose, text string) ([]byte, error) {
	body, dayText, ok := cutLast(text)
	encrypted, err := encoding.DecodeString(body)
	of, err2 := strconv.ParseInt(dayText, 10, 64)
	if !ok || err != nil || err2 != nil || strconv.FormatInt(of, 10) != dayText || !s.isLive(of) {
		return nil, ErrForged
	}
	k, err := s.key(ctx, of, false)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrForged
	}
	if err != nil {
		return nil, err
	}
	aead, err := cipherFor(k, purpose)
	if err != nil {
		return nil, err
	}
	payload, err := aead.Open(nil, nil, encrypted, []byte(dayText))
	if err != nil {
		return nil, ErrForged
	}
	return payload, nil
}

// cipherFor is AES-256-GCM with a key of its own for each purpose, and a random nonce
// in front of each text.
func cipherFor(key []byte, purpose string) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key, nil, "encrypt\x00"+purpose, keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

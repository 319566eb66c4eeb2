// Package envelope encrypts the values of a store by envelope encryption: a data key
// encrypts values on this machine, and a key in a KMS, which never leaves it, wraps the
// data key. A KMS is asked once for each data key and process.
//
// Values are sealed with AES-256-GCM. The place of a value is additional data, so a
// value that is moved to another place does not open. A value that is put back to the
// same place, for example from a backup, does.
package envelope

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"net/url"

	"github.com/gatepass/gatepass/internal/usererr"
)

// keySize is the key size of AES-256, in bytes.
const keySize = 32

// KnownWrappers are the URL forms that Open accepts, for messages and help.
const KnownWrappers = "awskms:///alias/NAME?region=… and vault+transit://MOUNT/KEY?addr=…&auth=…"

// A Wrapper wraps data keys with a key that it does not reveal. Its methods may be
// called concurrently. Their errors are one line.
type Wrapper interface {
	// Wrap encrypts a data key.
	Wrap(ctx context.Context, key []byte) (wrapped []byte, err error)
	// Unwrap decrypts what Wrap returned, now or years ago.
	Unwrap(ctx context.Context, wrapped []byte) (key []byte, err error)
}

// Open returns the wrapper that a URL names. It makes no request yet.
func Open(rawURL string) (Wrapper, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, usererr.New("open the wrapping key", "this is not a URL", "write one of "+KnownWrappers)
	}
	switch u.Scheme {
	case "awskms":
		return openAWS(u)
	case "vault+transit":
		return openVault(u)
	}
	return nil, usererr.New("open the wrapping key", "unknown scheme "+u.Scheme, "write one of "+KnownWrappers)
}

// A DataKey encrypts and decrypts values. The zero DataKey refuses.
type DataKey struct{ aead cipher.AEAD }

// ErrNotSealed reports a value that this key did not seal for this place.
var ErrNotSealed = errors.New("the value was encrypted with another key or for another entry")

var errNoKey = errors.New("the value has no data key")

// NewDataKey makes a data key, and returns it also in wrapped form.
func NewDataKey(ctx context.Context, w Wrapper) (k DataKey, wrapped []byte, err error) {
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return DataKey{}, nil, err
	}
	if wrapped, err = w.Wrap(ctx, key); err != nil {
		return DataKey{}, nil, err
	}
	k, err = dataKey(key)
	return k, wrapped, err
}

// UnwrapDataKey returns the data key that NewDataKey made.
func UnwrapDataKey(ctx context.Context, w Wrapper, wrapped []byte) (DataKey, error) {
	key, err := w.Unwrap(ctx, wrapped)
	if err != nil {
		return DataKey{}, err
	}
	return dataKey(key)
}

func dataKey(key []byte) (DataKey, error) {
	if len(key) != keySize {
		return DataKey{}, errors.New("the data key is not 32 bytes long")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return DataKey{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return DataKey{aead}, err
}

// Seal encrypts a value for a place. Nonces are random: a data key seals at most 2^32
// values.
func (k DataKey) Seal(place string, value []byte) ([]byte, error) {
	if k.aead == nil {
		return nil, errNoKey
	}
	return k.aead.Seal(nil, nil, value, []byte(place)), nil
}

// Open decrypts what Seal returned for the place, or returns ErrNotSealed.
func (k DataKey) Open(place string, sealed []byte) ([]byte, error) {
	if k.aead == nil {
		return nil, errNoKey
	}
	value, err := k.aead.Open(nil, nil, sealed, []byte(place))
	if err != nil {
		return nil, ErrNotSealed
	}
	return value, nil
}

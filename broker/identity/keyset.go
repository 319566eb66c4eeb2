package identity

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// ErrForged reports text that no valid key of the set has signed.
var ErrForged = errors.New("its signature is not valid")

// A Keyset signs texts with keys that all brokers of a store share. The zero Keyset signs
// nothing and accepts nothing.
//
// Each day (UTC) has a key. The first broker that needs it makes it, and it never changes.
// Today's key signs; a key verifies until a session of its day can no longer be renewed.
// Replicas need no agreement to change keys. To invalidate everything that was signed, an operator deletes the entries below
// broker/session-key; every replica notices within a minute.
type Keyset struct {
	Store store.Store
	Now   func() time.Time // nil means time.Now

	mu   sync.Mutex // guards keys; held during calls of the store, so that one call serves all
	keys map[int64]key
}

type key struct {
	bytes []byte
	read  time.Time // when it was last found in the store
}

const (
	keySize = 32
	day     = 24 * time.Hour
	recheck = time.Minute     // how long a key is used before the store is asked again
	skew    = 5 * time.Minute // allowed between the clocks of replicas
	// verifies is how long after its day a key verifies: a session that was made in the
	// day's last second expires SessionLife later, and can be renewed for MaxSleep.
	verifies = MaxSleep + SessionLife + skew
)

var encoding = base64.RawURLEncoding.Strict()

func (s *Keyset) now() time.Time {
	if s == nil || s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func dayOf(t time.Time) int64 { return t.Unix() / int64(day/time.Second) }

// Seal signs payload; it does not encrypt it. Any broker of the store can Open the text for
// at least a day, for the same purpose only.
func (s *Keyset) Seal(ctx context.Context, purpose string, payload []byte) (string, error) {
	today := dayOf(s.now())
	k, err := s.key(ctx, today, true)
	if err != nil {
		return "", err
	}
	signed := encoding.EncodeToString(payload) + "." + strconv.FormatInt(today, 10)
	return signed + "." + encoding.EncodeToString(mac(k, purpose, signed)), nil
}

// Open returns the payload of a text that Seal made for the purpose. The error wraps
// ErrForged, unless the store cannot be read.
func (s *Keyset) Open(ctx context.Context, purpose, text string) ([]byte, error) {
	signed, signature, _ := cutLast(text)
	body, dayText, ok := cutLast(signed)
	want, err := encoding.DecodeString(signature)
	if !ok || err != nil {
		return nil, ErrForged
	}
	of, err := strconv.ParseInt(dayText, 10, 64)
	if err != nil || !s.isLive(of) {
		return nil, ErrForged
	}
	k, err := s.key(ctx, of, false)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrForged
	}
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(mac(k, purpose, signed), want) {
		return nil, ErrForged
	}
	payload, err := encoding.DecodeString(body)
	if err != nil {
		return nil, ErrForged
	}
	return payload, nil
}

func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

// isLive reports whether a day's key may be valid. It keeps made-up days from causing reads
// of the store.
func (s *Keyset) isLive(of int64) bool {
	now := s.now()
	return of >= oldestLive(now) && of <= dayOf(now.Add(skew))
}

// oldestLive is the earliest day whose key is valid.
func oldestLive(now time.Time) int64 { return dayOf(now.Add(-verifies)) }

func mac(key []byte, purpose, signed string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose + "\x00" + signed))
	return h.Sum(nil)
}

// key returns the key of a day, and makes it if isWanted.
func (s *Keyset) key(ctx context.Context, of int64, isWanted bool) ([]byte, error) {
	if s == nil || s.Store == nil {
		return nil, usererr.New("read the session keys", "no store is set", "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	known, isKnown := s.keys[of]
	if isKnown && clock.Since(known.read, now) < recheck {
		return known.bytes, nil
	}
	fresh, err := s.read(ctx, of)
	if errors.Is(err, store.ErrNotFound) {
		delete(s.keys, of)
		if isWanted {
			fresh, err = s.create(ctx, of)
		}
	} else if err != nil && isKnown {
		return known.bytes, nil // the known key bridges an outage of the store
	}
	if err != nil {
		return nil, err
	}
	if s.keys == nil {
		s.keys = map[int64]key{}
	}
	s.keys[of] = key{fresh, now}
	maps.DeleteFunc(s.keys, func(of int64, _ key) bool { return of < oldestLive(now) })
	return fresh, nil
}

func (s *Keyset) read(ctx context.Context, of int64) ([]byte, error) {
	name := store.SessionKey(of)
	entry, err := s.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	bytes, err := encoding.DecodeString(entry.Value.Reveal())
	if err != nil || len(bytes) != keySize {
		return nil, usererr.New("read "+name.String(), "it is not a key", "delete it; the brokers create another, and sessions signed with it are no longer valid")
	}
	return bytes, nil
}

// create makes the key of a day, or returns the one that another broker made, and deletes old
// keys.
func (s *Keyset) create(ctx context.Context, of int64) ([]byte, error) {
	bytes := make([]byte, keySize)
	rand.Read(bytes) // never fails
	putErr := s.Store.Put(ctx, store.SessionKey(of), store.NewSecret(encoding.EncodeToString(bytes)), store.CreateOnly)
	if putErr == nil {
		s.sweep(ctx)
		return bytes, nil
	}
	// Whether or not the write succeeded: the key in the store is the valid one.
	bytes, err := s.read(ctx, of)
	if err != nil {
		return nil, usererr.Join(putErr, err)
	}
	return bytes, nil
}

// sweep deletes expired keys. After an error, the next day's sweep continues.
func (s *Keyset) sweep(ctx context.Context) {
	var old []store.Name
	for name, err := range s.Store.List(ctx, store.SessionKeys()) {
		if err != nil {
			return
		}
		if made, ok := name.SessionKeyDay(); ok && made < oldestLive(s.now()) {
			old = append(old, name)
		}
	}
	for _, name := range old {
		_ = s.Store.Delete(ctx, name)
	}
}

// Encrypt returns a text that only brokers of the store can read, by Decrypt, for as long as
// Seal's texts are valid and for the same purpose only.
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

// Decrypt returns the payload of a text that Encrypt made for the purpose. The error wraps
// ErrForged, unless the store cannot be read.
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

// cipherFor is AES-256-GCM with a key derived for the purpose, and a random nonce before each
// text.
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

package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	maxKeys    = 100
	minRSABits = 2048
	maxRSABits = 8192 // verifying with a larger one costs too much
)

// A keySet is the keys that an issuer publishes.
type keySet struct {
	keys     []jose.JSONWebKey
	unusable map[string]error // by key id: why a key cannot be used
}

// parseKeys parses a JWK Set (RFC 7517, section 5). Keys that cannot verify signatures are
// skipped, as the RFC requires; a set without a usable key is an error.
func parseKeys(data []byte) (keySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return keySet{}, errors.New("it is not a JWK Set")
	}
	if len(set.Keys) > maxKeys {
		return keySet{}, fmt.Errorf("it has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	known, refused := keySet{unusable: map[string]error{}}, []error{}
	for _, text := range set.Keys {
		k, err := parseKey(text)
		if err != nil {
			err = fmt.Errorf("key %q cannot be used: %w", clip(k.KeyID), err)
			known.unusable[k.KeyID] = err
			refused = append(refused, err)
			continue
		}
		known.keys = append(known.keys, k)
	}
	if len(known.keys) == 0 {
		return keySet{}, shortened(usererr.Join(append([]error{errors.New("it has no public key that verifies signatures")}, refused...)...))
	}
	return known, nil
}

// parseKey parses a key. If it returns an error, the key has its ID only. Certificates are
// ignored: the issuer vouches for the key, and Go cannot parse some of them.
func parseKey(text []byte) (jose.JSONWebKey, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return jose.JSONWebKey{}, errors.New("it is not a JSON object")
	}
	var k jose.JSONWebKey
	_ = json.Unmarshal(members["kid"], &k.KeyID) // a key without an id is found by ""
	nameless := jose.JSONWebKey{KeyID: k.KeyID}
	for _, name := range []string{"x5c", "x5u", "x5t", "x5t#S256"} {
		delete(members, name)
	}
	bare, err := json.Marshal(members)
	if err != nil {
		return nameless, err
	}
	if err := json.Unmarshal(bare, &k); err != nil {
		return nameless, errors.New(usererr.Escape(clip(err.Error())))
	}
	switch {
	case !k.IsPublic():
		return nameless, errors.New("it is not a public key")
	case !k.Valid():
		return nameless, errors.New("its numbers do not form a key")
	case k.Use != "" && k.Use != "sig":
		return nameless, fmt.Errorf("its use is %q, not sig", clip(k.Use))
	case !isStrong(k.Key):
		return nameless, fmt.Errorf("an RSA key must have %d to %d bits and an exponent of 3 or more", minRSABits, maxRSABits)
	}
	return k, nil
}

func isStrong(key any) bool {
	k, isRSA := key.(*rsa.PublicKey)
	return !isRSA || k.N.BitLen() >= minRSABits && k.N.BitLen() <= maxRSABits && k.E >= 3
}

// suiting returns the keys with exactly this ID that fit the algorithm. A token without an ID
// uses the only key that fits. The error says why there is none.
func (s keySet) suiting(kid, alg string) ([]crypto.PublicKey, error) {
	var fit []crypto.PublicKey
	var other error // why a key with the id does not fit the token
	for _, k := range s.keys {
		switch {
		case kid != "" && k.KeyID != kid:
		case k.Algorithm != "" && k.Algorithm != alg || !isFor(k.Key, alg):
			other = fmt.Errorf("key %q is not for the token's algorithm %s", clip(k.KeyID), alg)
		default:
			fit = append(fit, k.Key)
		}
	}
	switch unusable := s.unusable[kid]; {
	case kid == "" && len(fit) > 1:
		return nil, errNoKeyID
	case len(fit) > 0:
		return fit, nil
	case unusable != nil:
		return nil, unfit(unusable)
	case other != nil && kid != "":
		return nil, unfit(other)
	}
	return nil, errUnknownKey
}

// errUnknownKey reports a key that the issuer does not publish.
var errUnknownKey = errors.New("the issuer does not publish the key that signed the token")

// errNoKeyID reports a token that does not say which of several keys signed it.
var errNoKeyID = errors.New("the token's header has no kid, and its issuer publishes several keys that may have signed it")

// unfit refuses a token whose key is published and unusable. why is for the log.
func unfit(why error) error {
	return &broker.Refusal{Status: http.StatusUnauthorized, Reason: broker.ReasonIdentity, Detail: "the broker cannot use the key that signed the token", Err: why}
}

// isFor reports whether a key makes signatures of the algorithm (RFC 7518, section 3.1).
func isFor(key any, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return alg[:2] == "RS" || alg[:2] == "PS"
	case *ecdsa.PublicKey:
		curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
		return curves[alg] == k.Curve
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

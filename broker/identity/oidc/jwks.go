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

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeys    = 100
	minRSABits = 2048
	maxRSABits = 8192 // a larger one costs too much to ask
)

// parseKeys reads a JWK Set (RFC 7517, section 5). Keys that cannot verify are
// passed over, as the section asks; a set without any that can is an error.
func parseKeys(data []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("it is no JWK Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, text := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(text, &k) == nil && k.IsPublic() && k.Valid() && (k.Use == "" || k.Use == "sig") && isStrong(k.Key) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no public key to verify signatures with")
	}
	return keys, nil
}

func isStrong(key any) bool {
	k, isRSA := key.(*rsa.PublicKey)
	return !isRSA || k.N.BitLen() >= minRSABits && k.N.BitLen() <= maxRSABits && k.E >= 3
}

// suiting returns the keys with exactly this id that are for the algorithm. An
// id is compared and nothing else; a token without one is for keys without.
func suiting(keys []jose.JSONWebKey, kid, alg string) []crypto.PublicKey {
	var list []crypto.PublicKey
	for _, k := range keys {
		if k.KeyID == kid && (k.Algorithm == "" || k.Algorithm == alg) && isFor(k.Key, alg) {
			list = append(list, k.Key)
		}
	}
	return list
}

// isFor reports whether keys of this kind make signatures of the algorithm
// (RFC 7518, section 3.1).
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

package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// issuerName is the OpenID Connect issuer of the playground. No program connects to it:
// the broker has its keys in a file.
const issuerName = "https://ci.example"

// An issuer signs the identity of a CI job, like a CI system.
type issuer struct {
	keys  string // the file with the public key
	token string // such as "callers[0] ci", for audit and messages
	sign  jose.Signer
}

func newIssuer(keys, token string) (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}}
	text, err := json.Marshal(public)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(keys, text, 0o600); err != nil {
		return nil, err
	}
	sign, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	return &issuer{keys, token, sign}, err
}

// issue writes an identity that is valid for twice the time until the next one.
func (i *issuer) issue() error {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": issuerName, "aud": "gatepass", "sub": "repo:acme/widgets:ref:refs/heads/main", "repository": "acme/widgets",
		"run_id": "7", "iat": now.Unix(), "exp": now.Add(2 * jobEvery).Unix(),
	})
	if err != nil {
		return err
	}
	signed, err := i.sign.Sign(claims)
	if err != nil {
		return err
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return err
	}
	next := i.token + ".next" // replaced atomically: a reader never sees half of it
	if err := os.WriteFile(next, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, i.token)
}

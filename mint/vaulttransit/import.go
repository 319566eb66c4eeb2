package vaulttransit

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// imported is the body of POST /transit/keys/:name/import
// (https://developer.hashicorp.com/vault/api-docs/secret/transit#import-key). It does
// not let Vault rotate the key, because GitHub would not know the new version.
type imported struct {
	Type          string `json:"type"`
	Hash          string `json:"hash_function"`
	Ciphertext    string `json:"ciphertext"`
	AllowRotation bool   `json:"allow_rotation"`
	Exportable    bool   `json:"exportable"`
}

// Import makes a key in Vault from one in memory, which the caller can then forget.
// Vault neither rotates nor exports it. Import never changes an existing key; it is not
// an error if that is the same key.
//
// A policy must allow read on MOUNT/wrapping_key and MOUNT/keys/KEY, and create and
// update on MOUNT/keys/KEY/import.
func (s *Signer) Import(ctx context.Context, key *mint.KeySigner) error {
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	what := "import " + s.name("")
	there, err := s.hasKey(ctx, key)
	if there || err != nil {
		return err
	}
	wrapping, err := s.wrappingKey(ctx, what)
	if err != nil {
		return err
	}
	wrapped, err := key.Wrap(wrapping)
	if err != nil {
		return usererr.Wrap(what, err, "")
	}
	path := s.mount + "/keys/" + s.key + "/import"
	_, err = s.client.Write(ctx, what, path, imported{
		Type: fmt.Sprintf("rsa-%d", key.Public().N.BitLen()), Hash: "SHA256",
		Ciphertext: base64.StdEncoding.EncodeToString(wrapped),
	})
	if err != nil {
		err = s.describe(what, err, "create and update on "+path)
	}
	// If an answer was lost, the repeated request finds the key that it imported
	// itself.
	there, look := s.hasKey(ctx, key)
	switch {
	case there:
		return nil
	case err != nil:
		return err
	case look != nil:
		return look
	}
	return usererr.New(what, "Vault accepted the key, but does not show it", "check it: vault read "+s.mount+"/keys/"+s.key)
}

// Vacant returns nil if Import can import a key that GitHub has yet to make. It changes
// nothing, and cannot tell whether importing is allowed.
func (s *Signer) Vacant(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	what := "import " + s.name("")
	switch public, err := s.PublicKey(ctx); {
	case err == nil:
		return usererr.New(what, "a key of that name exists already, "+mint.Fingerprint(public), "choose another name; gatepass never replaces a key")
	case !errors.Is(err, errAbsent):
		return err
	}
	_, err := s.wrappingKey(ctx, what)
	return err
}

// hasKey reports whether Vault has the key already. Another key with that name is an
// error.
func (s *Signer) hasKey(ctx context.Context, key *mint.KeySigner) (bool, error) {
	public, err := s.PublicKey(ctx)
	if errors.Is(err, errAbsent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !public.Equal(key.Public()) {
		return false, usererr.New("import "+s.name(""), "another key of that name exists already, "+mint.Fingerprint(public), "choose another name; gatepass never replaces a key")
	}
	return true, nil
}

func (s *Signer) wrappingKey(ctx context.Context, what string) (*rsa.PublicKey, error) {
	path := s.mount + "/wrapping_key"
	answer, err := s.client.Read(ctx, what, path)
	if err != nil {
		return nil, s.describe(what, err, "read on "+path)
	}
	var text string
	_ = json.Unmarshal(answer.Data["public_key"], &text)
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, usererr.New(what, "its answer has no wrapping key", "importing needs Vault 1.11 or newer")
	}
	public, err := mint.ParsePublicKey(block.Bytes)
	if err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	return public, nil
}

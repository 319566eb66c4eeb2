// Package vaulttransit signs with a key in a transit engine of HashiCorp Vault
// (or OpenBao), which never leaves it:
//
//	vault+transit://MOUNT/KEY?addr=…&auth=…&role=…&namespace=…
//
// The last segment of the path is the key, those before it are the mount. The
// keys of the query, and where the login comes from, are those of package
// vaultclient. Placeholders have no meaning here.
//
// Vault signs with the newest version of the key; all versions that GitHub knows
// of do. A policy has to allow read on MOUNT/keys/KEY and update on
// MOUNT/sign/KEY.
package vaulttransit

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/remote"
	"github.com/gatepass/gatepass/mint"
)

// A Signer is one key, with all of its versions.
type Signer struct {
	mount, key string
	client     *vaultclient.Client

	mu       sync.Mutex // guards versions; held while they are asked for
	versions *versions
}

// Upkeep renews the Vault token that the signer logs in with. Long-lived
// programs call it from time to time.
func (s *Signer) Upkeep(ctx context.Context) { s.client.Upkeep(ctx) }

// PublicKey implements [mint.PublicKeyer]: it is the newest version's. It asks
// Vault and returns an error unless the key can sign for a GitHub App.
func (s *Signer) PublicKey(ctx context.Context) (*rsa.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, remote.MaxWait)
	defer cancel()
	v, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	return v.get(0), nil
}

// Sign implements [mint.Signer]. The key is looked at once for each version that
// signs, and each signature is checked with that version's public half.
func (s *Signer) Sign(ctx context.Context, digest [sha256.Size]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, remote.MaxWait)
	defer cancel()
	what := s.what("sign with")
	// A key of another kind is refused before anything is signed with it.
	if _, err := s.known(ctx, 0); err != nil {
		return nil, err
	}
	answer, err := s.client.Write(ctx, what, s.mount+"/sign/"+s.key, signing{
		Input: base64.StdEncoding.EncodeToString(digest[:]), Prehashed: true,
		Hash: "sha2-256", Algorithm: "pkcs1v15",
	})
	if err != nil {
		return nil, s.describe(what, err, "update on "+s.mount+"/sign/"+s.key)
	}
	var text string
	_ = json.Unmarshal(answer.Data["signature"], &text)
	version, signature, err := parseSignature(text)
	if err != nil {
		return nil, oneline.Wrap(what, err, "check that addr in the URL, or VAULT_ADDR, names a Vault")
	}
	public, err := s.known(ctx, version)
	if err != nil {
		return nil, err
	}
	if err := mint.CheckSignature(public, digest, signature); err != nil {
		return nil, oneline.Wrap(what, err, "check that addr in the URL, or VAULT_ADDR, names a Vault")
	}
	return signature, nil
}

// signing is the body of POST /transit/sign/:name
// (https://developer.hashicorp.com/vault/api-docs/secret/transit#sign-data).
type signing struct {
	Input     string `json:"input"`
	Prehashed bool   `json:"prehashed"`
	Hash      string `json:"hash_algorithm"`
	Algorithm string `json:"signature_algorithm"`
}

// parseSignature reads vault:vN:BASE64.
func parseSignature(text string) (version int, signature []byte, err error) {
	malformed := errors.New("its answer holds no signature of the form vault:vN:…")
	part := strings.Split(text, ":")
	if len(part) != 3 || part[0] != "vault" || !strings.HasPrefix(part[1], "v") {
		return 0, nil, malformed
	}
	version, err = strconv.Atoi(part[1][1:])
	if err != nil || version < 1 {
		return 0, nil, malformed
	}
	signature, err = base64.StdEncoding.Strict().DecodeString(part[2])
	if err != nil || len(signature) == 0 {
		return 0, nil, malformed
	}
	return version, signature, nil
}

// known returns the public half of a version, as get does. A version that is not
// known is one that the key was given since the last look.
func (s *Signer) known(ctx context.Context, version int) (*rsa.PublicKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions != nil {
		if public := s.versions.get(version); public != nil {
			return public, nil
		}
	}
	v, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	s.versions = v
	public := v.get(version)
	if public == nil {
		return nil, oneline.New(s.what("sign with"), "Vault signed with version "+strconv.Itoa(version)+" and does not show that one", "check min_decryption_version of the key: vault read "+s.mount+"/keys/"+s.key)
	}
	return public, nil
}

func (s *Signer) fetch(ctx context.Context) (*versions, error) {
	what := s.what("look at")
	path := s.mount + "/keys/" + s.key
	answer, err := s.client.Read(ctx, what, path)
	if err != nil {
		return nil, s.describe(what, err, "read on "+path)
	}
	v, err := parseVersions(answer.Data)
	if err != nil {
		return nil, oneline.Wrap(what, err, "make one with type rsa-2048, rsa-3072 or rsa-4096")
	}
	return v, nil
}

// what begins an error: "sign with the transit key transit/x in Vault at …".
func (s *Signer) what(doing string) string {
	return doing + " the transit key " + s.mount + "/" + s.key + " in " + s.client.Where()
}

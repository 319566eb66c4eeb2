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
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
)

// A Signer is one key, with all of its versions. Its [signer.Key] has Sign and
// PublicKey.
type Signer struct {
	signer.Key
	mount, key string
	client     *vaultclient.Client
}

const wrongServer = "check that addr in the URL, or VAULT_ADDR, names a Vault"

// Upkeep renews the Vault token that the signer logs in with. Long-lived
// programs call it from time to time.
func (s *Signer) Upkeep(ctx context.Context) { s.client.Upkeep(ctx) }

// name is how errors name the key.
func (s *Signer) name(string) string {
	return "the transit key " + s.mount + "/" + s.key + " in " + s.client.Where()
}

// sign has Vault choose the version: it takes the newest.
func (s *Signer) sign(ctx context.Context, _ string, digest [sha256.Size]byte) (signature []byte, by string, err error) {
	what := "sign with " + s.name("")
	answer, err := s.client.Write(ctx, what, s.mount+"/sign/"+s.key, signing{
		Input: base64.StdEncoding.EncodeToString(digest[:]), Prehashed: true,
		Hash: "sha2-256", Algorithm: "pkcs1v15",
	})
	if err != nil {
		return nil, "", s.describe(what, err, "update on "+s.mount+"/sign/"+s.key)
	}
	var text string
	_ = json.Unmarshal(answer.Data["signature"], &text)
	version, signature, err := parseSignature(text)
	if err != nil {
		return nil, "", usererr.Wrap(what, err, wrongServer)
	}
	return signature, strconv.Itoa(version), nil
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

// look returns all versions that Vault shows. The one that signed, if any, has to be
// among them.
func (s *Signer) look(ctx context.Context, signed string) (*signer.Versions, error) {
	what, path := "look at "+s.name(""), s.mount+"/keys/"+s.key
	answer, err := s.client.Read(ctx, what, path)
	if err != nil {
		return nil, s.describe(what, err, "read on "+path)
	}
	v, err := parseVersions(answer.Data)
	if err != nil {
		return nil, usererr.Wrap(what, err, "make one with type rsa-2048, rsa-3072 or rsa-4096")
	}
	if v.Get(signed) == nil {
		return nil, usererr.New("sign with "+s.name(""), "Vault signed with version "+signed+" and does not show that one", "check min_decryption_version of the key: vault read "+path)
	}
	return v, nil
}

// Package vaulttransit signs with a key in a transit engine of HashiCorp Vault (or
// OpenBao). The key never leaves it:
//
//	vault+transit://MOUNT/KEY?addr=…&auth=…&role=…&namespace=…
//
// The last segment of the path is the key, those before it are the mount. The keys of
// the query, and the origin of the login, are those of package vaultclient.
// Placeholders have no meaning here.
//
// Vault signs with the newest version of the key. GitHub accepts every version whose
// public half it knows. A policy must allow read on MOUNT/keys/KEY and update on
// MOUNT/sign/KEY.
package vaulttransit

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/mint/signer"
)

// A Signer is one key with all its versions. Its [signer.Key] has Sign and PublicKey.
type Signer struct {
	signer.Key
	mount, key string
	client     *vaultclient.Client
}

const wrongServer = "check that addr in the URL, or VAULT_ADDR, names a Vault"

// Upkeep renews the Vault token of the signer. A long-lived program must call it from
// time to time.
func (s *Signer) Upkeep(ctx context.Context) { s.client.Upkeep(ctx) }

// name returns the key's name for errors.
func (s *Signer) name(string) string {
	return "the transit key " + s.mount + "/" + s.key + " in " + s.client.Where()
}

// sign lets Vault choose the version: it takes the newest.
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

// parseSignature parses vault:vN:BASE64.
func parseSignature(text string) (version int, signature []byte, err error) {
	malformed := errors.New("its answer has no signature of the form vault:vN:…")
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

// publicKeys returns all versions that Vault shows. They must include the one that signed, if
// any.
func (s *Signer) publicKeys(ctx context.Context, signed string) (*signer.Versions, error) {
	what, path := "look at "+s.name(""), s.mount+"/keys/"+s.key
	answer, err := s.client.Read(ctx, what, path)
	if err != nil {
		return nil, s.describe(what, err, "read on "+path)
	}
	v, err := parseVersions(answer.Data)
	if err != nil {
		return nil, usererr.Wrap(what, err, "create one with type rsa-2048, rsa-3072 or rsa-4096")
	}
	if v.Get(signed) == nil {
		return nil, usererr.New("sign with "+s.name(""), "Vault signed with version "+signed+", but does not show that version", "check min_decryption_version of the key: vault read "+path)
	}
	return v, nil
}

const (
	scheme = "vault+transit"
	form   = "write vault+transit://MOUNT/KEY?addr=https://host[:port]&auth=METHOD"
)

// Open reads a signer's URL. The first Sign or PublicKey reads the environment and
// calls Vault.
func Open(u *url.URL) (*Signer, error) {
	what := "signer " + scheme + "://" + u.Host + u.Path
	switch {
	case u.Scheme != scheme:
		return nil, usererr.New("signer", "its scheme is not "+scheme, form)
	case u.User != nil || u.Opaque != "" || u.Fragment != "":
		return nil, usererr.New("signer "+scheme+"://"+u.Host, "a key's URL must not have a user, password or fragment", form)
	case u.Port() != "":
		return nil, usererr.New(what, "the part after "+scheme+":// must be the mount, not the address", form)
	case u.Host == "" || !vaultclient.IsPath(u.Host+u.Path) || u.Path == "":
		return nil, usererr.New(what, "it must name a mount and a key", form)
	case strings.ContainsAny(u.Path, "{}"):
		return nil, usererr.New(what, "it must not have a placeholder", "the App has one signer for all workspaces")
	}
	client, _, err := vaultclient.Open(what, u.RawQuery, "")
	if err != nil {
		return nil, err
	}
	full := u.Host + u.Path
	s := &Signer{mount: path.Dir(full), key: path.Base(full), client: client}
	s.Key = signer.Key{PublicKeys: s.publicKeys, SignWith: s.sign, Name: s.name, Check: wrongServer}
	return s, nil
}

var errNoKey = errors.New("its answer is not from a transit engine")

// parseVersions parses the answer of GET /transit/keys/:name
// (https://developer.hashicorp.com/vault/api-docs/secret/transit#read-key), which shows
// the versions from min_decryption_version on. It returns an error unless the newest
// version can sign for a GitHub App.
func parseVersions(data map[string]json.RawMessage) (*signer.Versions, error) {
	var kind string
	if json.Unmarshal(data["type"], &kind) != nil {
		return nil, errNoKey
	}
	if !strings.HasPrefix(kind, "rsa-") {
		return nil, fmt.Errorf("the key is of type %s; a GitHub App needs an RSA key", usererr.Escape(kind))
	}
	var keys map[string]struct {
		PublicKey string `json:"public_key"`
	}
	var latest int
	if json.Unmarshal(data["keys"], &keys) != nil || json.Unmarshal(data["latest_version"], &latest) != nil {
		return nil, errNoKey
	}
	v := &signer.Versions{Current: strconv.Itoa(latest), Public: map[string]*rsa.PublicKey{}}
	for text, key := range keys {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1 {
			return nil, errNoKey
		}
		block, _ := pem.Decode([]byte(key.PublicKey))
		if block == nil {
			return nil, errNoKey
		}
		if v.Public[strconv.Itoa(number)], err = mint.ParsePublicKey(block.Bytes); err != nil {
			return nil, err
		}
	}
	if v.Get("") == nil {
		return nil, errNoKey
	}
	return v, nil
}

// errAbsent marks the error about a missing key.
var errAbsent = errors.New("no such key")

// describe turns a refusal into one line; allow is what a policy must allow. It returns
// other errors unchanged, because they are lines already.
func (s *Signer) describe(what string, err error, allow string) error {
	r, ok := errors.AsType[*vaultclient.Refusal](err)
	if !ok {
		return err
	}
	said := strings.ToLower(r.Messages)
	switch {
	case r.Status == http.StatusForbidden:
		return usererr.New(what, "permission denied"+r.Shown(), "allow "+allow+" in a policy of "+s.client.Identity()+", and check that "+s.mount+"/ is a transit engine")
	case strings.Contains(said, "no handler for route"), strings.Contains(said, "route entry not found"):
		return usererr.New(what, "there is no secrets engine at "+s.mount+"/", "correct the mount or the namespace: vault secrets list")
	case strings.Contains(said, "unsupported path"), strings.Contains(said, "versioned k/v"), r.Status == http.StatusMethodNotAllowed:
		return usererr.New(what, s.mount+"/ is not a transit engine"+r.Shown(), "correct the mount: vault secrets list")
	case r.Status == http.StatusNotFound, strings.Contains(said, "key not found"):
		return &usererr.Error{Op: what, Reason: "there is no such key" + r.Shown(), Hint: "correct its name: vault list " + s.mount + "/keys", Err: errAbsent}
	}
	return usererr.New(what, fmt.Sprintf("Vault refuses (%d)", r.Status)+r.Shown(), "check the key: vault read "+s.mount+"/keys/"+s.key)
}

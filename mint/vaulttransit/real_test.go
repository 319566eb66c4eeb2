package vaulttransit

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// vault is a real one, used as its root. Each test mounts an engine under a name of its
// own.
type vault struct {
	t             *testing.T
	address, root string
	mount         string
}

func realVault(t *testing.T) *vault {
	t.Helper()
	address := os.Getenv("GATEPASS_TEST_VAULT_ADDR")
	if address == "" {
		t.Skip("missing: Vault (make test-real sets GATEPASS_TEST_VAULT_ADDR)")
	}
	isolate(t)
	v := &vault{t: t, address: address, root: os.Getenv("GATEPASS_TEST_VAULT_TOKEN")}
	v.mount = "t" + strconv.FormatInt(time.Now().UnixNano(), 36) + "/transit"
	t.Setenv("VAULT_ADDR", address)
	t.Setenv("VAULT_TOKEN", v.root)
	v.call(http.MethodPost, "sys/mounts/"+v.mount, map[string]any{"type": "transit"})
	t.Cleanup(func() { _, _ = v.try(http.MethodDelete, "sys/mounts/"+v.mount, nil) })
	return v
}

func (v *vault) try(method, path string, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, v.address+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Vault-Token", v.root)
	return (&http.Client{Timeout: time.Minute}).Do(request)
}

// call makes one request as root, which must succeed.
func (v *vault) call(method, path string, body any) map[string]any {
	v.t.Helper()
	response, err := v.try(method, path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(response.Body).Decode(&answer)
	if response.StatusCode/100 != 2 {
		v.t.Fatalf("%s %s = %s %v", method, path, response.Status, answer["errors"])
	}
	return answer
}

// newKey makes a key and returns its URL.
func (v *vault) newKey(name, kind string) string {
	v.t.Helper()
	v.call(http.MethodPost, v.mount+"/keys/"+name, map[string]any{"type": kind})
	return "vault+transit://" + v.mount + "/" + name
}

// public returns the key's newest public half, read by another signer.
func (v *vault) public(url string) *rsa.PublicKey {
	v.t.Helper()
	key, err := open(v.t, url).PublicKey(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	return key
}

func TestRealRotation(t *testing.T) {
	v := realVault(t)
	for _, kind := range []string{"rsa-2048", "rsa-3072", "rsa-4096"} {
		url := v.newKey(kind, kind)
		s := open(t, url)
		var before *rsa.PublicKey
		for version := 1; version <= 3; version++ {
			public := v.public(url)
			if before != nil && public.Equal(before) {
				t.Errorf("version %d of %s has the key of the one before", version, kind)
			}
			checkSigned(t, s, public)
			before = public
			if kind != "rsa-2048" {
				break // making one takes seconds
			}
			v.call(http.MethodPost, v.mount+"/keys/"+kind+"/rotate", nil)
		}
	}
	v.call(http.MethodPost, v.mount+"/keys/rsa-2048/config", map[string]any{"min_decryption_version": 3, "min_encryption_version": 3})
	url := "vault+transit://" + v.mount + "/rsa-2048"
	checkSigned(t, open(t, url), v.public(url))
}

func TestRealErrors(t *testing.T) {
	v := realVault(t)
	for _, kind := range []string{"ed25519", "aes256-gcm96", "ecdsa-p256"} {
		_, err := open(t, v.newKey(kind, kind)).Sign(t.Context(), digest)
		checkError(t, err, "look at the transit key "+v.mount+"/"+kind+" in Vault at http://", "the key is of type "+kind+"; a GitHub App needs an RSA key")
	}
	_, err := open(t, "vault+transit://"+v.mount+"/nobody").Sign(t.Context(), digest)
	checkError(t, err, "there is no such key; correct its name: vault list "+v.mount+"/keys")
	_, err = open(t, "vault+transit://nowhere/app").Sign(t.Context(), digest)
	checkError(t, err, "there is no secrets engine at nowhere/")
	_, err = open(t, "vault+transit://sys/app").Sign(t.Context(), digest)
	checkError(t, err, "sys/ is not a transit engine")
	kv := strings.TrimSuffix(v.mount, "/transit") + "/kv"
	v.call(http.MethodPost, "sys/mounts/"+kv, map[string]any{"type": "kv"})
	t.Cleanup(func() { _, _ = v.try(http.MethodDelete, "sys/mounts/"+kv, nil) })
	_, err = open(t, "vault+transit://"+kv+"/app").Sign(t.Context(), digest)
	checkError(t, err, "there is no such key")
}

// asPolicy sets VAULT_TOKEN to a token with that policy.
func (v *vault) asPolicy(rules string) {
	v.t.Helper()
	name := strings.TrimSuffix(v.mount, "/transit")
	v.call(http.MethodPost, "sys/policies/acl/"+name, map[string]any{"policy": rules})
	auth := v.call(http.MethodPost, "auth/token/create", map[string]any{"policies": []string{name}, "ttl": "1h"})["auth"].(map[string]any)
	v.t.Setenv("VAULT_TOKEN", auth["client_token"].(string))
}

// The two rules that the package names are enough, and neither can be left out.
func TestRealPolicies(t *testing.T) {
	v := realVault(t)
	url := v.newKey("app", "rsa-2048")
	public := v.public(url)
	look := `path "` + v.mount + `/keys/app" { capabilities = ["read"] }` + "\n"
	sign := `path "` + v.mount + `/sign/app" { capabilities = ["update"] }` + "\n"
	v.asPolicy(look + sign)
	checkSigned(t, open(t, url), public)
	v.asPolicy(sign)
	_, err := open(t, url).Sign(t.Context(), digest)
	checkError(t, err, "look at the transit key", "permission denied; allow read on "+v.mount+"/keys/app")
	v.asPolicy(look)
	_, err = open(t, url).Sign(t.Context(), digest)
	checkError(t, err, "sign with the transit key", "permission denied; allow update on "+v.mount+"/sign/app")
}

func newSigner(t *testing.T, key *rsa.PrivateKey) *mint.KeySigner {
	t.Helper()
	signer, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestRealImport(t *testing.T) {
	v := realVault(t)
	for i, key := range keys[1:] { // of 2048 and 3072 bits
		s := open(t, "vault+transit://"+v.mount+"/imported"+strconv.Itoa(i))
		for range 2 { // the second finds it there
			if err := s.Import(t.Context(), newSigner(t, key)); err != nil {
				t.Fatalf("Import = %v", err)
			}
		}
		checkSigned(t, s, &key.PublicKey)
		checkError(t, s.Import(t.Context(), newSigner(t, keys[0])), "import the transit key", "another key of that name exists already, SHA256:")
		checkSigned(t, s, &key.PublicKey)
	}
	path := v.mount + "/keys/imported0"
	if data := v.call(http.MethodGet, path, nil)["data"].(map[string]any); data["exportable"] != false || data["allow_plaintext_backup"] != false {
		t.Errorf("the key is %v, want one that is not exportable", data)
	}
	if response, err := v.try(http.MethodPost, path+"/rotate", nil); err != nil || response.StatusCode/100 == 2 {
		t.Errorf("rotating the imported key = %v, %v, want it refused", response, err)
	}
	v.asPolicy(`path "` + v.mount + `/keys/*" { capabilities = ["read"] }`)
	err := open(t, "vault+transit://"+v.mount+"/more").Import(t.Context(), newSigner(t, keys[0]))
	checkError(t, err, "permission denied", "allow read on "+v.mount+"/wrapping_key")
}

// The secret ID is used up by the first login, so that only renewals can keep
// the second signature going.
func TestRealLoginAndRenewal(t *testing.T) {
	for range 10 {
		if v := realVault(t); renews(t, v) {
			return
		}
	}
	t.Error("this machine was late ten times")
}

// renews signs twice with one login of two seconds. It returns false if this machine
// was too late for a renewal.
func renews(t *testing.T, v *vault) bool {
	t.Helper()
	url := v.newKey("app", "rsa-2048")
	public := v.public(url)
	name := strings.TrimSuffix(v.mount, "/transit")
	v.asPolicy(`path "` + v.mount + `/*" { capabilities = ["read", "update"] }`)
	t.Setenv("VAULT_TOKEN", "")
	v.call(http.MethodPost, "sys/auth/"+name, map[string]any{"type": "approle"})
	t.Cleanup(func() { _, _ = v.try(http.MethodDelete, "sys/auth/"+name, nil) })
	role := "auth/" + name + "/role/r"
	v.call(http.MethodPost, role, map[string]any{"token_policies": name, "secret_id_num_uses": 1, "token_ttl": "2s", "token_max_ttl": "1h"})
	roleID := v.call(http.MethodGet, role+"/role-id", nil)["data"].(map[string]any)["role_id"].(string)
	secretID := v.call(http.MethodPost, role+"/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
	file := filepath.Join(t.TempDir(), "secret-id")
	if err := os.WriteFile(file, []byte(secretID), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, url+"?auth=approle&auth_mount="+name+"&role_id="+roleID+"&secret_id_file="+file)
	last := time.Now()
	checkSigned(t, s, public)
	for range 12 {
		time.Sleep(250 * time.Millisecond)
		begun := time.Now()
		s.Upkeep(t.Context())
		if time.Since(last) > time.Second {
			return false
		}
		last = begun
	}
	if _, err := s.Sign(t.Context(), [32]byte{}); err != nil && time.Since(last) > time.Second {
		return false
	}
	checkSigned(t, s, public)
	return true
}

package vaulttransit

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/gatepass/gatepass/test/vaulttest"
)

var (
	_ mint.Signer      = (*Signer)(nil)
	_ mint.PublicKeyer = (*Signer)(nil)

	digest = sha256.Sum256([]byte("header.claims"))

	keys = []*rsa.PrivateKey{testkey.RSA(2048, 0), testkey.RSA(2048, 1), testkey.RSA(3072, 0)}
)

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// transit is a strict double of an engine at transit/ with the key app. It signs a
// digest as it is, and refuses what cannot be one.
type transit struct {
	vaulttest.Vault
	t *testing.T

	mu       sync.Mutex // held during a POST
	versions []*rsa.PrivateKey
	hidden   int // versions below min_decryption_version
	kind     string
	answer   func(version int, signature []byte) string
}

func newTransit(t *testing.T) *transit {
	v := &transit{t: t, versions: keys[:1], kind: "rsa-2048", answer: func(version int, signature []byte) string {
		return fmt.Sprintf("vault:v%d:%s", version, base64.StdEncoding.EncodeToString(signature))
	}}
	v.Mount("transit/", "transit", "")
	v.HandlePost("transit/sign/app", v.sign)
	v.show()
	return v
}

// show makes Vault show the key as it is now.
func (v *transit) show() {
	shown := map[string]any{}
	for i, key := range v.versions[v.hidden:] {
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			v.t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		shown[strconv.Itoa(v.hidden+i+1)] = map[string]any{"name": v.kind, "public_key": string(text), "creation_time": "2026-01-02T15:04:05Z"}
	}
	v.Put("transit/keys/app", map[string]any{"data": map[string]any{
		"type": v.kind, "name": "app", "keys": shown, "latest_version": len(v.versions), "supports_signing": true,
	}})
}

func (v *transit) sign(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	var body signing
	err := dec.Decode(&body)
	input, err2 := base64.StdEncoding.DecodeString(body.Input)
	if err != nil || err2 != nil || len(input) != sha256.Size || !body.Prehashed || body.Hash != "sha2-256" || body.Algorithm != "pkcs1v15" {
		v.t.Errorf("Vault was sent %+v, want a SHA-256 digest for pkcs1v15", body)
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, v.versions[len(v.versions)-1], crypto.SHA256, input)
	if err != nil {
		v.t.Error(err)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{
		"signature": v.answer(len(v.versions), signature), "key_version": len(v.versions),
	}})
}

func isolate(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_CACERT", "VAULT_CAPATH", "VAULT_CLIENT_CERT",
		"VAULT_CLIENT_KEY", "VAULT_TLS_SERVER_NAME", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
}

func open(t *testing.T, rawURL string) *Signer {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve opens transit/app with a token that may do everything.
func serve(t *testing.T, v *transit, policies ...string) *Signer {
	t.Helper()
	isolate(t)
	server := httptest.NewServer(&v.Vault)
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		if bad := v.Invalid(); len(bad) > 0 {
			t.Errorf("Vault was sent invalid requests: %q", bad)
		}
	})
	t.Setenv("VAULT_TOKEN", v.Give(vaulttest.Login{TTL: time.Hour, Policies: policies}))
	return open(t, "vault+transit://transit/app?addr="+server.URL)
}

// checkSigned checks a signature by the key.
func checkSigned(t *testing.T, s *Signer, key *rsa.PublicKey) {
	t.Helper()
	signature, err := s.Sign(t.Context(), digest)
	if err != nil {
		t.Fatalf("Sign = %v, want a signature", err)
	}
	if err := mint.CheckSignature(key, digest, signature); err != nil {
		t.Error(err)
	}
}

func checkError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q, want %q in it", err, part)
		}
	}
	if strings.Contains(err.Error(), "hvs.") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q shows a token or is more than a line", err)
	}
}

// The second version broke an operator of this kind for good.
func TestSignWithAnyVersion(t *testing.T) {
	v := newTransit(t)
	s := serve(t, v)
	for version := 1; version <= len(keys); version++ {
		v.versions = keys[:version]
		v.show()
		checkSigned(t, s, &keys[version-1].PublicKey)
		checkSigned(t, s, &keys[version-1].PublicKey)
		public, err := s.PublicKey(t.Context())
		if err != nil || !public.Equal(&keys[version-1].PublicKey) {
			t.Errorf("PublicKey with %d versions = %v, %v, want the newest's", version, public, err)
		}
	}
	if looked := v.Count("GET transit/keys/app"); looked != 2*len(keys) {
		t.Errorf("the key was looked at %d times, want %d: once for each version to sign, once for each PublicKey", looked, 2*len(keys))
	}
	v.hidden = 2 // of which only the newest is left
	v.show()
	checkSigned(t, serve(t, v), &keys[2].PublicKey)
}

func TestLoginAndRenewal(t *testing.T) {
	v := newTransit(t)
	serve(t, v)
	secretID := filepath.Join(t.TempDir(), "secret-id")
	if err := os.WriteFile(secretID, []byte("s-1"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.Accept("approle", vaulttest.Login{Body: map[string]string{"role_id": "r-1", "secret_id": "s-1"}, TTL: time.Second, Renewable: true})
	server := httptest.NewServer(&v.Vault)
	t.Cleanup(server.Close)
	s := open(t, "vault+transit://transit/app?auth=approle&role_id=r-1&secret_id_file="+secretID+"&addr="+server.URL)
	late, last := 0, time.Now()
	for timely := 0; timely < 4; timely++ { // in a row: on a machine that is late the login expires
		begun := time.Now()
		s.Upkeep(t.Context())
		checkSigned(t, s, &keys[0].PublicKey)
		if time.Since(last) >= time.Second && late < 30 {
			late, timely = late+1, -1
		}
		last = begun
		time.Sleep(600 * time.Millisecond)
	}
	if logins := v.Count("POST auth/approle/login"); logins < 1 || logins > 1+late {
		t.Errorf("%d logins, and %d times no time to renew, want 1 that is renewed", logins, late)
	}
	v.Revoke()
	checkSigned(t, s, &keys[0].PublicKey)
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*transit)
		policy []string
		want   []string
	}{
		{"keys of another kind", func(v *transit) { v.kind = "ed25519"; v.show() }, nil, []string{"look at the transit key transit/app in Vault at http://", "the key is of type ed25519; a GitHub App needs an RSA key; create one with type rsa-2048, rsa-3072 or rsa-4096"}},
		{"a key that is too short", func(v *transit) { v.versions = []*rsa.PrivateKey{newKey(1024)}; v.show() }, nil, []string{"the key has 1024 bits"}},
		{"no policy to look", func(*transit) {}, []string{"transit/sign/"}, []string{"look at the transit key", "permission denied; allow read on transit/keys/app in a policy of the Vault token of VAULT_TOKEN"}},
		{"no policy to sign", func(*transit) {}, []string{"transit/keys/"}, []string{"sign with the transit key", "permission denied; allow update on transit/sign/app in a policy of the Vault token of VAULT_TOKEN"}},
		{"a secret and no key", func(v *transit) { v.Put("transit/keys/app", map[string]any{"data": map[string]any{"token": "x"}}) }, nil, []string{"its answer is not from a transit engine"}},
		{"key material that is none", func(v *transit) {
			v.Put("transit/keys/app", map[string]any{"data": map[string]any{"type": "rsa-2048", "latest_version": 1, "keys": map[string]any{"1": map[string]any{"public_key": "x"}}}})
		}, nil, []string{"its answer is not from a transit engine"}},
		{"a version that is not shown", func(v *transit) {
			v.answer = func(_ int, b []byte) string { return "vault:v9:" + base64.StdEncoding.EncodeToString(b) }
		}, nil, []string{"Vault signed with version 9, but does not show that version"}},
		{"a signature by another key", func(v *transit) { v.show(); v.versions = keys[1:2] }, nil, []string{"the signature does not fit the key"}},
		{"a ciphertext", func(v *transit) { v.answer = func(int, []byte) string { return "vault:v1:!" } }, nil, []string{"its answer has no signature"}},
		{"nothing", func(v *transit) { v.answer = func(int, []byte) string { return "" } }, nil, []string{"its answer has no signature"}},
		{"Vault's own words", func(v *transit) {
			v.HandlePost("transit/sign/app", vaulttest.Errors(400, "requested version for signing is less than the minimum encryption key version"))
		}, nil, []string{"Vault refuses (400): requested version for signing is less than"}},
		{"a sealed Vault", func(v *transit) { v.FailNext(vaulttest.Errors(503, "Vault is sealed")) }, nil, []string{"Vault is sealed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newTransit(t)
			c.change(v)
			signature, err := serve(t, v, c.policy...).Sign(t.Context(), digest)
			checkError(t, err, c.want...)
			if signature != nil {
				t.Errorf("Sign = %x and an error, want the error alone", signature)
			}
		})
	}
}

func TestTroubleThatPasses(t *testing.T) {
	v := newTransit(t)
	s := serve(t, v)
	v.FailNext(vaulttest.Errors(500, "x"), vaulttest.Errors(429))
	checkSigned(t, s, &keys[0].PublicKey)
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"vault+transit://transit", "it must name a mount and a key"},
		{"vault+transit://transit/", "it must name a mount and a key"},
		{"vault+transit:///app", "it must name a mount and a key"},
		{"vault+transit://transit//app", "it must name a mount and a key"},
		{"vault+transit://transit/../app", "it must name a mount and a key"},
		{"vault+transit://transit/a%20b", "it must name a mount and a key"},
		{"vault+transit://vault.example:8200/transit/app", "the part after vault+transit:// must be the mount, not the address"},
		{"vault+transit://user:hunter2@transit/app", "must not have a user, password or fragment"},
		{"vault+transit://transit/{workspace}", "it must not have a placeholder"},
		{"vault+transit://transit/app?field=token", "unknown key field"},
		{"vault+transit://transit/app?addr=http://vault.example", "must be an https URL, or http on this machine"},
		{"vault+transit://transit/app?auth=magic", "unknown login method magic"},
		{"vault://transit/app", "its scheme is not vault+transit"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(u)
		checkError(t, err, c.want)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %q shows the password", err)
		}
	}
	if s := open(t, "vault+transit://team/transit/app"); s.mount != "team/transit" || s.key != "app" {
		t.Errorf("Open reads mount %q and key %q, want team/transit and app", s.mount, s.key)
	}
}

func FuzzParseSignature(f *testing.F) {
	for _, s := range []string{"vault:v1:AAAA", "vault:v0:AAAA", "vault:v-1:AAAA", "vault:v1:", "vault:v99999999999999999999:AAAA", "vault:v1:AAAA:", "v1:AAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		version, signature, err := parseSignature(s)
		if err == nil && (version < 1 || len(signature) == 0) {
			t.Errorf("parseSignature(%q) = %d, %x", s, version, signature)
		}
	})
}

func FuzzParseVersions(f *testing.F) {
	f.Add(`{"type":"rsa-2048","latest_version":1,"keys":{"1":{"public_key":"x"}}}`)
	f.Add(`{"type":"rsa-2048","latest_version":0,"keys":{}}`)
	f.Add(`{"type":"aes256-gcm96","latest_version":1,"keys":{"1":1700000000}}`)
	f.Fuzz(func(t *testing.T, s string) {
		var data map[string]json.RawMessage
		if json.Unmarshal([]byte(s), &data) != nil {
			return
		}
		if v, err := parseVersions(data); err == nil && v.Get("") == nil {
			t.Errorf("parseVersions(%s) has no newest version", s)
		}
	})
}

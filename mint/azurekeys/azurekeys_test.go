package azurekeys

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/signertest"
)

var (
	_ mint.Signer      = (*Signer)(nil)
	_ mint.PublicKeyer = (*Signer)(nil)

	digest = sha256.Sum256([]byte("header.claims"))
)

// checkSigned checks a signature by a key.
func checkSigned(t *testing.T, s *Signer, key *rsa.PrivateKey) {
	t.Helper()
	signature, err := s.Sign(t.Context(), digest)
	if err != nil {
		t.Fatalf("Sign = %v, want a signature", err)
	}
	if err := mint.CheckSignature(&key.PublicKey, digest, signature); err != nil {
		t.Error(err)
	}
}

func checkCalls(t *testing.T, d *double, challenges, gets, signs int) {
	t.Helper()
	if c, g, s := d.count("challenge"), d.count("get"), d.count("sign"); c != challenges || g != gets || s != signs {
		t.Errorf("%d challenges, %d looks at the key and %d signatures, want %d, %d and %d", c, g, s, challenges, gets, signs)
	}
}

func TestSign(t *testing.T) {
	d := &double{}
	s := serve(t, d, "/app")
	checkSigned(t, s, keys[0])
	checkSigned(t, s, keys[0])
	public, err := s.PublicKey(t.Context())
	if err != nil || !public.Equal(&keys[0].PublicKey) {
		t.Errorf("PublicKey = %v, %v, want the key's", public, err)
	}
	checkCalls(t, d, 1, 1, 2)
	if n := len(d.entra.tokens); n != 1 {
		t.Errorf("%d access tokens, want 1", n)
	}
}

func TestManySignAtOnce(t *testing.T) {
	d := &double{}
	s := serve(t, d, "/app")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := s.Sign(t.Context(), digest); err != nil {
				t.Errorf("Sign = %v", err)
			}
		})
	}
	group.Wait()
	checkCalls(t, d, 1, 1, 8)
}

// Each cloud has hosts, an authority and an audience of its own.
func TestClouds(t *testing.T) {
	for host, authority := range map[string]string{
		"gatepass-git.managedhsm.azure.net":         "login.microsoftonline.com",
		"gatepass-git.vault.azure.cn":               "login.chinacloudapi.cn",
		"gatepass-git.vault.usgovcloudapi.net":      "login.microsoftonline.us",
		"gatepass-git.managedhsm.usgovcloudapi.net": "login.microsoftonline.us",
	} {
		checkSigned(t, serve(t, &double{host: host, entra: &entra{authority: authority, secret: secret}}, "/app"), keys[0])
	}
	if len(clouds) != 6 {
		t.Errorf("%d suffixes are known, want 6: a token for one opens every vault of its owner", len(clouds))
	}
}

// The key gets a new version; the App's is still the one that was chosen.
func TestVersionIsKept(t *testing.T) {
	d := &double{}
	s := serve(t, d, "/app")
	checkSigned(t, s, keys[0])
	d.mu.Lock()
	d.versions = append(d.versions, usable(second, keys[1]))
	d.mu.Unlock()
	checkSigned(t, s, keys[0])
	if public, err := s.PublicKey(t.Context()); err != nil || !public.Equal(&keys[0].PublicKey) {
		t.Errorf("PublicKey = %v, %v, want that of the version that was chosen", public, err)
	}
	checkCalls(t, d, 1, 1, 2)
}

func TestVersionOfTheURL(t *testing.T) {
	versions := []held{usable(first, keys[0]), usable(second, keys[1])}
	checkSigned(t, serve(t, &double{versions: versions}, "/app/"+first), keys[0])
	checkSigned(t, serve(t, &double{versions: versions}, "/app"), keys[1])
}

// Azure ignores the case of names.
func TestCaseOfNames(t *testing.T) {
	const version = "ABCDEF0123456789abcdef0123456789"
	d := &double{versions: []held{usable(version, keys[0])}}
	s := serve(t, d, "/App/"+strings.ToLower(version))
	checkSigned(t, s, keys[0])
	if s := open(t, strings.ToUpper(vault)+"/App"); s.host != vault {
		t.Errorf("Open reads the host %s, want %s", s.host, vault)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"azurekeys://" + vault, "this is not a key; write azurekeys://NAME.vault.azure.net/KEY"},
		{"azurekeys://" + vault + "/", "this is not a key"},
		{"azurekeys://" + vault + "/app/", "this is not a key"},
		{"azurekeys://" + vault + "/keys/app", "this is not a key"},
		{"azurekeys://" + vault + "/keys/app/" + first, "this is not a key"},
		{"azurekeys://" + vault + "/app/" + first + "0", "this is not a key"},
		{"azurekeys://" + vault + "/app/../" + first, "this is not a key"},
		{"azurekeys://" + vault + "/..", "this is not a key"},
		{"azurekeys://" + vault + "/a%2Fb", "this is not a key"},
		{"azurekeys://" + vault + "/{workspace}", "this is not a key"},
		{"azurekeys://" + vault + "/" + strings.Repeat("a", maxName+1), "this is not a key"},
		{"azurekeys:///app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://vault.azure.net/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://.vault.azure.net/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://a.b.vault.azure.net/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://gatepass-git.vault.azure.net.evil.example/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://evil.example/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://gatepass-git.evilvault.azure.net/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://gatepass-git.vault.azure.com/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://" + vault + ":443/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://" + vault + "./app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://127.0.0.1/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://localhost:8443/app", "its host is not a Key Vault or Managed HSM of Azure"},
		{"azurekeys://" + vault + "/app?api-version=1", "it must not have a query"},
		{"azurekeys://" + vault + "/app#1", "must not have a user, password or fragment"},
		{"azurekeys://user:hunter2@" + vault + "/app", "must not have a user, password or fragment"},
		{"https://" + vault + "/app", "its scheme is not azurekeys"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(u)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%.120s) = %v, want an error with %q", c.url, err, c.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, s := range []string{"azurekeys://" + vault + "/app", "azurekeys://" + vault + "/app/" + first, "azurekeys://x", "azurekeys:x", "azurekeys://" + vault + "/%00", "azurekeys://a@b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		s, err := Open(u)
		if err != nil {
			return
		}
		target, err := url.Parse(s.client.url + "/keys/" + s.key + "/" + s.version)
		if err != nil || target.Host != s.host || clouds[suffixOf(target.Host)].Services == nil && !strings.HasSuffix(target.Host, ".azure.net") {
			t.Errorf("Open(%q) leads to %v", raw, target)
		}
		if strings.Count(target.Path, "/") != 3 || strings.ContainsAny(target.String(), " \n%{}?#\\") {
			t.Errorf("Open(%q) leads to %v", raw, target)
		}
	})
}

func FuzzParseJWK(f *testing.F) {
	for _, k := range keys {
		text, err := json.Marshal(usable(first, k).jwk("https://" + vault + "/keys/app/" + first))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(`{"kty":"RSA","n":"","e":""}`)
	f.Add(`{"kty":"RSA","n":"AQAB","e":"_____w"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var k azkeys.JSONWebKey
		if k.UnmarshalJSON([]byte(text)) != nil {
			return
		}
		if key, err := parseJWK(&k); err == nil && (key.N.BitLen() < 2048 || key.E < 2) {
			t.Errorf("parseJWK(%s) takes a key of %d bits with exponent %d", text, key.N.BitLen(), key.E)
		}
		s := &Signer{host: vault, key: "app"}
		if version, err := s.versionOf(k.KID); err == nil && !isVersion(version) {
			t.Errorf("versionOf(%q) = %q", *k.KID, version)
		}
	})
}

// A thousand tokens cost one signature: Key Vault bills and throttles each.
func TestAThousandMintsSignOnce(t *testing.T) {
	d := &double{}
	signertest.MintThousand(t, &keys[0].PublicKey, serve(t, d, "/app"))
	checkCalls(t, d, 1, 1, 1)
}

package azurekeys

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// checkError checks that the error is one line that names the key and what was done
// with it.
func checkError(t *testing.T, signature []byte, err error, want string) {
	t.Helper()
	if err == nil || signature != nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("Sign = %x, %v, want an error with %q", signature, err, want)
	}
	if text := err.Error(); !strings.Contains(text, " the Azure key "+vault+"/app") || strings.ContainsAny(text, "\n\r") || len(text) > 900 {
		t.Errorf("the error %q is not one line about the key", text)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if strings.Contains(e.Error(), secret) || strings.Contains(e.Error(), "eyJ") {
			t.Errorf("a secret is in the error %q", e)
		}
	}
}

func TestErrors(t *testing.T) {
	const caller = "Caller is not authorized to perform action on resource.\r\nCaller: appid=1\r\nAction: 'Microsoft.KeyVault/vaults/keys/sign/action'"
	for _, c := range []struct {
		name, call string
		answer     http.HandlerFunc
		want       string
	}{
		{"no permission to look", "get", refuse(403, "Forbidden", "The user, group or application 'x' does not have keys get permission on key vault 'y'.", "AccessDenied"), "look at the Azure key " + vault + "/app: permission denied: The user, group or application 'x' does not have keys get permission on key vault 'y'.; give this identity the role Key Vault Crypto User (Managed HSM Crypto User), or get on keys in the vault's access policy"},
		{"no permission to sign", "sign", refuse(403, "Forbidden", caller, "ForbiddenByRbac"), "sign with the Azure key " + vault + "/app/" + first + ": permission denied: Caller is not authorized to perform action on resource. Caller: appid=1 Action: 'Microsoft.KeyVault/vaults/keys/sign/action'; give this identity the role Key Vault Crypto User (Managed HSM Crypto User), or sign on keys"},
		{"a firewall", "get", refuse(403, "Forbidden", "Client address is not authorized and caller is not a trusted service.", "ForbiddenByFirewall"), "the firewall of the vault blocks this machine: Client address"},
		{"no public access", "get", refuse(403, "Forbidden", "Public network access is disabled", "ForbiddenByConnection"), "the firewall of the vault blocks this machine"},
		{"a disabled key that is not even shown", "get", refuse(403, "Forbidden", "Operation get is not allowed on a disabled key.", "KeyDisabled"), "the version is disabled; enable it: az keyvault key set-attributes --enabled true"},
		{"disabled since", "sign", refuse(403, "Forbidden", "Operation sign is not allowed on a disabled key.", ""), "the version is disabled"},
		{"expired", "sign", refuse(403, "Forbidden", "Operation sign is not allowed on an expired key.", "KeyExpired"), "the version is not valid now: Operation sign is not allowed on an expired key.; correct its dates"},
		{"not yet", "sign", refuse(403, "Forbidden", "", "KeyNotYetValid"), "the version is not valid now; correct its dates"},
		{"a key that may not sign", "sign", refuse(403, "Forbidden", "Operation sign is not permitted on this key.", "KeyOperationForbidden"), "this key cannot sign: Operation sign is not permitted on this key.; create one of type RSA or RSA-HSM with 2048 bits or more and the operation sign"},
		{"a bad request", "sign", refuse(400, "BadParameter", "Key and signing algorithm are incompatible.", ""), "Key Vault does not accept this as a signing key: Key and signing"},
		{"gone", "sign", refuse(404, "KeyNotFound", "", ""), "there is no such key; check vault, key and version in the URL; if it was deleted: az keyvault key recover"},
		{"a page of a proxy", "get", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusForbidden) }, "the answer is not from Key Vault (403)"},
		{"a page instead of an answer", "sign", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "the answer is not from Key Vault: "},
		{"a redirect", "get", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/", http.StatusFound)
		}, "the answer is not from Key Vault (302)"},
		{"no end", "get", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxAnswer+1)) }, "the answer is too long"},
		{"an unknown refusal", "sign", refuse(409, "Conflict", "hello\x1b[31m", ""), `Key Vault refuses (409): hello\x1b[31m`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{failing: map[string]http.HandlerFunc{c.call: c.answer}}
			s := serve(t, d, "/app")
			s.client.transport.(*http.Client).CheckRedirect = network().CheckRedirect
			signature, err := s.Sign(t.Context(), digest)
			checkError(t, signature, err, c.want)
			if n := d.count(c.call); n != 1 {
				t.Errorf("%s was called %d times, want 1", c.call, n)
			}
		})
	}
}

func TestKeysThatCannotSignForAnApp(t *testing.T) {
	curve, sealed, off := usable(first, keys[0]), usable(first, keys[0]), usable(first, keys[0])
	curve.kind, sealed.ops, off.disabled = "EC", []string{"encrypt", "decrypt"}, true
	for _, c := range []struct {
		name string
		v    held
		want string
	}{
		{"an elliptic curve", curve, `its type is "EC"; a GitHub App needs an RSA key; create one of type RSA or RSA-HSM`},
		{"a key to encrypt with", sealed, "this key cannot sign: sign is not among its operations (key_ops); create one of"},
		{"a disabled key", off, "the version is disabled; enable it: az keyvault key set-attributes --enabled true"},
		{"a key that is too short", usable(first, newKey(1024)), "the key has 1024 bits, fewer than 2048"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{versions: []held{c.v}}
			signature, err := serve(t, d, "/app").Sign(t.Context(), digest)
			checkError(t, signature, err, "look at the Azure key "+vault+"/app/"+first+": "+c.want)
			checkCalls(t, d, 1, 1, 0)
		})
	}
}

func TestKeyThatIsNotThere(t *testing.T) {
	for path, want := range map[string]string{
		"/app/" + second: "/" + second + ": there is no such key: A key with (name/id) app/" + second + " was not found",
		"/app2":          ": there is no such key: A key with (name/id) app2/ was not found",
	} {
		signature, err := serve(t, &double{}, path).Sign(t.Context(), digest)
		checkError(t, signature, err, want)
	}
}

// An answer for another key, or version, is not believed.
func TestAnswersAboutAnotherKey(t *testing.T) {
	prefix := "https://" + vault + "/keys/"
	for _, kid := range []any{
		nil, "", "x", "app/" + first, prefix + "app", prefix + "app/", prefix + "app/short", prefix + "other/" + first, prefix + "app/" + second + "/x",
		"https://other.vault.azure.net/keys/app/" + first, "http://" + vault + "/keys/app/" + first, prefix + "app/" + first + "\n",
	} {
		shown := func(a map[string]any) { a["key"].(map[string]any)["kid"] = kid }
		signed := func(a map[string]any) { a["kid"] = kid }
		for _, d := range []*double{{key: shown}, {signed: signed}} {
			signature, err := serve(t, d, "/app/"+first).Sign(t.Context(), digest)
			checkError(t, signature, err, "the answer is for another key, ")
		}
	}
	// A version other than the one asked for.
	for _, d := range []*double{
		{key: func(a map[string]any) { a["key"].(map[string]any)["kid"] = prefix + "app/" + second }},
		{signed: func(a map[string]any) { a["kid"] = prefix + "app/" + second }},
	} {
		signature, err := serve(t, d, "/app/"+first).Sign(t.Context(), digest)
		checkError(t, signature, err, "the answer is for another key, "+prefix+"app/"+second)
	}
}

// A signature that is not by the key is not believed.
func TestWrongSignatureIsRefused(t *testing.T) {
	for _, value := range []any{nil, "", base64.RawURLEncoding.EncodeToString(make([]byte, 256))} {
		d := &double{signed: func(a map[string]any) { a["value"] = value }}
		signature, err := serve(t, d, "/app").Sign(t.Context(), digest)
		checkError(t, signature, err, "the signature does not fit the key and the signed data")
	}
}

func TestWrongPublicKeyIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, field string
		value       any
		want        string
	}{
		{"no modulus", "n", "", "its public key is damaged"},
		{"no exponent", "e", "", "its public key is damaged"},
		{"a long exponent", "e", "AQAAAAAAAAAB", "its public key is damaged"},
		{"a modulus without end", "n", strings.Repeat("A", 4*maxModulus), "its public key is damaged"},
		{"no kind", "kty", nil, `its type is ""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{key: func(a map[string]any) { a["key"].(map[string]any)[c.field] = c.value }}
			signature, err := serve(t, d, "/app").Sign(t.Context(), digest)
			checkError(t, signature, err, c.want)
		})
	}
	d := &double{key: func(a map[string]any) { delete(a, "key") }}
	signature, err := serve(t, d, "/app").Sign(t.Context(), digest)
	checkError(t, signature, err, "its answer has no key")
}

package vaultclient

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/vaulttest"
)

const jwt = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"

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

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// client opens a query against the double, without a network.
func client(t *testing.T, v *vaulttest.Vault, query string) *Client {
	t.Helper()
	c, _, err := Open("source vault://secret/x", query, "sb-1")
	if err != nil {
		t.Fatal(err)
	}
	c.settings.addr = "https://vault.example"
	l, err := newLink("", c.settings)
	if err != nil {
		t.Fatal(err)
	}
	l.client.Transport = v
	c.link = l
	return c
}

func newVault() *vaulttest.Vault {
	v := &vaulttest.Vault{}
	v.Mount("secret/", "kv", "1")
	v.Put("secret/x", map[string]any{"data": map[string]any{"token": "y"}})
	return v
}

func read(t *testing.T, c *Client) error {
	t.Helper()
	answer, err := c.Read(t.Context(), "read secret/x", "secret/x")
	if err == nil && string(answer.Data["token"]) != `"y"` {
		t.Errorf("Read = %v, want the token", answer.Data)
	}
	return err
}

func checkError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q, want %q in it", err, part)
		}
	}
	for _, leak := range []string{"hvs.", jwt, "\n"} {
		if strings.Contains(err.Error(), leak) {
			t.Errorf("error %q shows %q", err, leak)
		}
	}
}

func TestLogins(t *testing.T) {
	isolate(t)
	roleID, secretID, jwtFile := writeFile(t, "role-1\n"), writeFile(t, "secret-1\n"), writeFile(t, jwt)
	for _, c := range []struct{ name, query, mount, body string }{
		{"AppRole", "auth=approle&role_id_file=" + roleID + "&secret_id_file=" + secretID, "approle", "role_id=role-1 secret_id=secret-1"},
		{"AppRole without a secret ID", "auth=approle&role_id=role-1", "approle", "role_id=role-1"},
		{"AppRole mounted elsewhere", "auth=approle&role_id=role-{workspace}&auth_mount=ci/approle", "ci/approle", "role_id=role-sb-1"},
		{"JWT", "auth=jwt&role=ci&jwt_file=" + jwtFile, "jwt", "jwt=" + jwt + " role=ci"},
		{"JWT with the default role", "auth=jwt&jwt_file=" + jwtFile, "jwt", "jwt=" + jwt},
		{"Kubernetes", "auth=kubernetes&role={workspace}&jwt_file=" + jwtFile, "kubernetes", "jwt=" + jwt + " role=sb-1"},
	} {
		v := newVault()
		body := map[string]string{}
		for pair := range strings.FieldsSeq(c.body) {
			key, value, _ := strings.Cut(pair, "=")
			body[key] = value
		}
		v.Accept(c.mount, vaulttest.Login{Body: body, TTL: time.Hour})
		if err := read(t, client(t, v, c.query)); err != nil || len(v.Invalid()) > 0 {
			t.Errorf("%s: Read = %v, invalid %q, want the secret", c.name, err, v.Invalid())
		}
	}
}

func TestLoginsThatFail(t *testing.T) {
	isolate(t)
	jwtFile := writeFile(t, jwt)
	v := newVault()
	v.Accept("jwt", vaulttest.Login{Body: map[string]string{"jwt": "other"}})
	for _, c := range []struct {
		name, query string
		want        []string
	}{
		{"not accepted", "auth=jwt&role=ci&jwt_file=" + jwtFile, []string{"log in to Vault at https://vault.example by jwt: Vault does not accept the login: invalid role or secret ID", "check that the role ci of auth/jwt accepts the token in " + jwtFile}},
		{"no such method", "auth=kubernetes&role=ci&jwt_file=" + jwtFile, []string{"or no login method is mounted at auth/kubernetes"}},
		{"no file", "auth=approle&role_id=r&secret_id_file=/does/not/exist", []string{"no such file", "correct secret_id_file in the URL"}},
		{"an empty file", "auth=approle&role_id_file=" + writeFile(t, ""), []string{"does not have a credential: it is empty, has spaces or control characters, or is over 8 KiB", "correct role_id_file"}},
		{"two lines", "token_file=" + writeFile(t, "hvs.a\nX-Vault-Namespace: b"), []string{"does not have a credential: it is empty, has spaces or control characters, or is over 8 KiB", "correct token_file"}},
		{"nothing at all", "", []string{"this machine has no Vault token; set VAULT_TOKEN, run vault login"}},
	} {
		t.Run(c.name, func(t *testing.T) { checkError(t, read(t, client(t, v, c.query)), c.want...) })
	}
}

func TestTokenPlaces(t *testing.T) {
	isolate(t)
	v := newVault()
	good := v.Give(vaulttest.Login{})
	home, _ := os.UserHomeDir()
	if err := os.WriteFile(filepath.Join(home, ".vault-token"), []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := read(t, client(t, v, "")); err != nil {
		t.Errorf("Read with the token of vault login = %v", err)
	}
	t.Setenv("VAULT_TOKEN", "hvs.bad")
	checkError(t, read(t, client(t, v, "")), "Vault does not know the Vault token of VAULT_TOKEN: it expired")
	if err := read(t, client(t, v, "auth=token&token_file="+writeFile(t, good+"\n"))); err != nil {
		t.Errorf("Read with token_file = %v", err)
	}
}

func TestTokenFileIsReadAnew(t *testing.T) {
	isolate(t)
	v := newVault()
	path := writeFile(t, v.Give(vaulttest.Login{}))
	c := client(t, v, "token_file="+path)
	if err := read(t, c); err != nil {
		t.Fatal(err)
	}
	v.Revoke()
	checkError(t, read(t, c), "Vault does not know the Vault token of "+path, "put a fresh one there")
	if err := os.WriteFile(path, []byte(v.Give(vaulttest.Login{})), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := read(t, c); err != nil {
		t.Errorf("Read with a fresh file = %v", err)
	}
}

func TestRetries(t *testing.T) {
	busy := vaulttest.Errors(500, "internal error")
	for _, c := range []struct {
		name  string
		next  []http.HandlerFunc
		calls int
		want  string
	}{
		{"once", []http.HandlerFunc{busy}, 2, ""},
		{"a quota", []http.HandlerFunc{vaulttest.Errors(429, "rate limited")}, 2, ""},
		{"a standby that lags", []http.HandlerFunc{vaulttest.Errors(412)}, 2, ""},
		{"always", []http.HandlerFunc{busy, busy, busy, busy, busy, busy}, 6, "Vault cannot answer now (500): internal error; try again in a moment"},
		{"sealed", []http.HandlerFunc{vaulttest.Errors(503, "Vault is sealed")}, 1, "Vault is sealed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			isolate(t)
			v := newVault()
			t.Setenv("VAULT_TOKEN", v.Give(vaulttest.Login{}))
			synctest.Test(t, func(t *testing.T) {
				v.FailNext(c.next...)
				err := read(t, client(t, v, ""))
				if (c.want == "") != (err == nil) || len(v.Calls()) != c.calls {
					t.Errorf("Read = %v after %q, want %d calls", err, v.Calls(), c.calls)
				}
				if c.want != "" {
					checkError(t, err, c.want)
				}
			})
		})
	}
}

func TestCancelEndsTheWait(t *testing.T) {
	isolate(t)
	v := newVault()
	t.Setenv("VAULT_TOKEN", "hvs.x")
	c := client(t, v, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Read(ctx, "read secret/x", "secret/x")
	checkError(t, err, "the request was cancelled")
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"auth=ldap", "unknown login method ldap; write auth=token, approle, jwt or kubernetes"},
		{"auth=approle", "needs either role_id_file or role_id"},
		{"auth=approle&role_id=a&role_id_file=b", "needs either"},
		{"auth=approle&role_id=a&role=b", "role is not a key of auth=approle; it takes auth_mount, role_id"},
		{"auth=jwt&role=a", "auth=jwt needs jwt_file"},
		{"auth=kubernetes", "auth=kubernetes needs role"},
		{"role=a", "role is not a key of auth=token"},
		{"auth=jwt&jwt_file=a&auth_mount=../sys", "auth_mount must be a path"},
		{"addr=http://vault.example", "must be an https URL, or http on this machine"},
		{"addr=https://u:p@vault.example", "addr in the URL is not an address"},
		{"addr=vault.example:8200", "is not an address"},
		{"namespace=a%0d%0ab", "namespace has spaces or control characters"},
		{"token_file={owner}", "only {workspace} is allowed there"},
		{"a=%zz", "query is malformed"},
		{"token=hvs.secret", "unknown key token; known: addr"},
	} {
		_, _, err := Open("source vault://secret/x", c.query, "sb-1")
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hvs.secret") || strings.Contains(err.Error(), "u:p") {
			t.Errorf("Open(%s) = %v, want an error with %q", c.query, err, c.want)
		}
	}
}

func FuzzDecodeAnswer(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"lease_id":"a","lease_duration":9223372036854775807,"data":{"token":"ghs_secret"}}`,
		`{"auth":{"client_token":"hvs.x","lease_duration":-1}}`, `{"errors":["permission denied"]}`, `<html>`, `{}{}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := decodeAnswer(body)
		if err != nil {
			if err.Error() != "its answer is not JSON of Vault" {
				t.Errorf("decodeAnswer(%q) = %v, which may repeat it", body, err)
			}
		} else if answer.Lifetime < 0 || answer.Leased && answer.Lifetime == 0 {
			t.Errorf("decodeAnswer(%q) lives for %v", body, answer.Lifetime)
		}
		if shown := decodeRefusal(400, body).Shown(); len(shown) > maxShown+10 || strings.ContainsAny(shown, "\r\n") {
			t.Errorf("Shown of %q = %q, want one bounded line", body, shown)
		}
	})
}

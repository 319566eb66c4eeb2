package vaultstore

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/test/vaulttest"
)

const secret = "ghs_0123456789abcdef"

var (
	_ credential.Source = (*Source)(nil)
	_ credential.Keyer  = (*Source)(nil)

	widgets = credential.Request{Protocol: "https", Host: "github.com", Path: "Acme/Widgets.git"}
)

// isolate clears all settings of Vault from the environment of the tests.
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

// serve starts the double with a token in VAULT_TOKEN.
func serve(t *testing.T) *vaulttest.Vault {
	t.Helper()
	isolate(t)
	v := &vaulttest.Vault{}
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		if list := v.Invalid(); len(list) > 0 {
			t.Errorf("Vault was sent invalid requests: %q", list)
		}
	})
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", v.Give(vaulttest.Login{}))
	v.Mount("secret/", "kv", "2")
	v.Mount("kv1/", "kv", "1")
	v.Mount("old/", "generic", "")
	v.Mount("team/kv/", "kv", "2")
	v.Mount("github/", "vault-plugin-secrets-github", "")
	return v
}

func open(t *testing.T, raw string) *Source {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(u, "sb-1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkError checks that the error is one line that has each part and no secret.
func checkError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("Token = a token, want an error with %q", parts)
		return
	}
	text := err.Error()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("Token = %s, want %q in it", text, part)
		}
	}
	for _, leak := range []string{secret, "hvs.", "\n"} {
		if strings.Contains(text, leak) {
			t.Errorf("Token = %q, which shows %q", text, leak)
		}
	}
}

func near(at time.Time, in time.Duration) bool {
	off := time.Until(at) - in
	return off.Abs() < time.Minute
}

func fields(fields map[string]any) map[string]any { return map[string]any{"data": fields} }

func TestToken(t *testing.T) {
	v := serve(t)
	written := time.Now().Add(-20 * time.Minute)
	inAnHour := time.Now().Add(time.Hour)
	v.PutKV2("secret/", "sandbox/sb-1/token", written, map[string]any{"token": secret})
	v.PutKV2("secret/", "acme/widgets", written, map[string]any{"token": secret})
	v.PutKV2("secret/", "dated", written, map[string]any{"token": secret, "expires_at": inAnHour.UTC().Format(time.RFC3339)})
	v.PutKV2("secret/", "unix", written, map[string]any{"token": secret, "expires_at": inAnHour.Unix()})
	v.PutKV2("secret/", "object", written, map[string]any{"gh": `{"token":"` + secret + `","expires_at":"` + inAnHour.UTC().Format(time.RFC3339) + `"}`})
	v.PutKV2("team/kv/", "x", written, map[string]any{"token": secret + "\n"})
	v.Put("kv1/x", map[string]any{"lease_duration": 2764800, "data": map[string]any{"token": secret}})
	v.Put("kv1/dated", fields(map[string]any{"token": secret, "expires_at": inAnHour.UTC().Format(time.RFC3339)}))
	v.Put("old/x", fields(map[string]any{"token": secret}))
	v.Put("github/token", map[string]any{"lease_id": "github/token/1", "lease_duration": 1800, "data": map[string]any{"token": secret, "expires_at": inAnHour.UTC().Format(time.RFC3339)}})
	v.Put("github/token/short", map[string]any{"lease_id": "github/token/2", "lease_duration": 7200, "data": map[string]any{"token": secret, "expires_at": inAnHour.UTC().Format(time.RFC3339)}})
	v.Put("github/token/bare", map[string]any{"lease_id": "github/token/3", "lease_duration": 900, "data": map[string]any{"token": secret}})
	for _, c := range []struct {
		name, source string
		lives        time.Duration
	}{
		{"KV 2 ends an hour after it was written", "vault://secret/sandbox/{workspace}/token", 40 * time.Minute},
		{"placeholders are filled", "vault://secret/{owner}/{repo}", 40 * time.Minute},
		{"a stated expiry holds", "vault://secret/dated", time.Hour},
		{"also in seconds", "vault://secret/unix", time.Hour},
		{"also within the text", "vault://secret/object?field=gh", time.Hour},
		{"a version that is given", "vault://secret/dated?kv=2", time.Hour},
		{"a mount of two segments", "vault://team/kv/x", 40 * time.Minute},
		{"KV 1 does not say when it was written", "vault://kv1/x", unknownAge},
		{"nor does it when its version is given", "vault://kv1/x?kv=1", unknownAge},
		{"but a stated expiry holds", "vault://kv1/dated", time.Hour},
		{"an engine from before KV", "vault://old/x", unknownAge},
		{"a lease ends before the token", "vault://github/token", 30 * time.Minute},
		{"a token ends before its lease", "vault://github/token/short", time.Hour},
		{"a lease alone", "vault://github/token/bare", 15 * time.Minute},
	} {
		token, err := open(t, c.source).Token(t.Context(), widgets)
		if err != nil || token.Secret() != secret || !near(token.Expiry, c.lives) {
			t.Errorf("%s: Token(%s) = %v for %v, %v, want it for %v", c.name, c.source, token, time.Until(token.Expiry), err, c.lives)
		}
	}
}

func TestVersionIsAskedOnce(t *testing.T) {
	v := serve(t)
	v.PutKV2("secret/", "a", time.Now(), map[string]any{"token": secret})
	s := open(t, "vault://secret/a")
	for range 3 {
		if _, err := s.Token(t.Context(), widgets); err != nil {
			t.Fatal(err)
		}
	}
	if n := v.Count("GET sys/internal/ui/mounts/secret/a"); n != 1 || len(v.Calls()) != 4 {
		t.Errorf("Vault was asked %q, want the mount once", v.Calls())
	}
}

// A refusal may mean that the engine has been replaced.
func TestVersionIsAskedAgainAfterARefusal(t *testing.T) {
	v := serve(t)
	v.PutKV2("secret/", "a", time.Now(), map[string]any{"token": secret})
	s := open(t, "vault://secret/a")
	s.mounts = []mount{{path: "secret/", version: plain}}
	_, err := s.Token(t.Context(), widgets)
	checkError(t, err, "there is no such secret")
	if _, err := s.Token(t.Context(), widgets); err != nil {
		t.Errorf("second Token = %v, want a token", err)
	}
}

func TestRefusals(t *testing.T) {
	hourAgo := time.Now().Add(-time.Hour)
	deleted := map[string]any{"data": map[string]any{"data": nil, "metadata": map[string]any{"deletion_time": "2026-01-02T03:04:05.6Z", "destroyed": false}}}
	destroyed := map[string]any{"data": map[string]any{"data": nil, "metadata": map[string]any{"deletion_time": "", "destroyed": true}}}
	json404 := func(body map[string]any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(body)
		}
	}
	for _, c := range []struct {
		name, source string
		put          map[string]any     // at secret/data/x
		next         []http.HandlerFunc // before it
		want         []string
	}{
		{"there is no such secret", "vault://secret/none", nil, nil, []string{"read secret/none in Vault at http://127.0.0.1:", "there is no such secret", "gatepass workspace create"}},
		{"data/ written out", "vault://secret/data/x", nil, nil, []string{"write the path without data/"}},
		{"no such mount", "vault://nope/x", nil, nil, []string{"permission denied, or there is no secrets engine at nope/", "namespace"}},
		{"no such mount, version given", "vault://nope/x?kv=2", nil, nil, []string{"there is no secrets engine at nope/", "vault secrets list"}},
		{"version 2 read as 1", "vault://secret/x?kv=1", nil, []http.HandlerFunc{json404(map[string]any{"warnings": []string{"Invalid path for a versioned K/V secrets engine."}})}, []string{"KV engine of version 2", "leave kv=1 out"}},
		{"deleted", "vault://secret/x?kv=2", nil, []http.HandlerFunc{json404(deleted)}, []string{"its newest version was deleted at 2026-01-02T03:04:05Z", "gatepass workspace refresh sb-1"}},
		{"destroyed", "vault://secret/x?kv=2", nil, []http.HandlerFunc{json404(destroyed)}, []string{"its newest version was deleted; "}},
		{"no such field", "vault://secret/x", kv2(hourAgo, map[string]any{"b": secret, "a": secret}), nil, []string{"it has no field token", "set &field= in the source to one of a, b"}},
		{"a secret without fields", "vault://secret/x", kv2(hourAgo, map[string]any{}), nil, []string{"it has no field token", "deliver the token on the issuing side"}},
		{"a field that is no text", "vault://secret/x", kv2(hourAgo, map[string]any{"token": []string{secret}}), nil, []string{"the field token is not a string"}},
		{"a field that is no token", "vault://secret/x", kv2(hourAgo, map[string]any{"token": "<html>" + secret}), nil, []string{"not a token: it is a web page"}},
		{"not an expiry", "vault://secret/x", kv2(hourAgo, map[string]any{"token": secret, "expires_at": "tomorrow"}), nil, []string{"expires_at must be a time"}},
		{"a token that has ended", "vault://secret/x", kv2(hourAgo.Add(-time.Minute), map[string]any{"token": secret}), nil, []string{"the token in it expired at", "gatepass workspace refresh sb-1"}},
		{"an answer of version 1", "vault://secret/x?kv=2", map[string]any{"data": map[string]any{"token": secret}}, nil, []string{"it is not an answer of a KV engine of version 2"}},
		{"sealed", "vault://secret/x", nil, []http.HandlerFunc{vaulttest.Errors(503, "Vault is sealed")}, []string{"Vault is sealed; ask its operators to unseal it"}},
		{"not initialized", "vault://secret/x", nil, []http.HandlerFunc{vaulttest.Errors(501, "Vault is not initialized")}, []string{"Vault is not initialized"}},
		{"not readable", "vault://secret/x", nil, []http.HandlerFunc{vaulttest.Errors(405, "unsupported operation")}, []string{"this path cannot be read: unsupported operation"}},
		{"a strange refusal", "vault://secret/x", nil, []http.HandlerFunc{vaulttest.Errors(400, "bad \x1b[31m "+secret)}, []string{`Vault refuses (400): bad \x1b[31m [redacted]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := serve(t)
			if c.put != nil {
				v.Put("secret/data/x", c.put)
			}
			v.FailNext(c.next...)
			_, err := open(t, c.source).Token(t.Context(), widgets)
			checkError(t, err, c.want...)
		})
	}
}

func kv2(written time.Time, fields map[string]any) map[string]any {
	return map[string]any{"data": map[string]any{"data": fields, "metadata": map[string]any{"created_time": written.UTC().Format(time.RFC3339Nano)}}}
}

func TestPermissionDenied(t *testing.T) {
	v := serve(t)
	v.PutKV2("secret/", "x", time.Now(), map[string]any{"token": secret})
	t.Setenv("VAULT_TOKEN", v.Give(vaulttest.Login{Policies: []string{"secret/data/other", "secret/"}}))
	if _, err := open(t, "vault://secret/x").Token(t.Context(), widgets); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_TOKEN", v.Give(vaulttest.Login{Policies: []string{"secret/data/other"}}))
	_, err := open(t, "vault://secret/x").Token(t.Context(), widgets)
	checkError(t, err, "permission denied", "allow read on secret/data/x in a policy of the Vault token of VAULT_TOKEN")
	t.Setenv("VAULT_TOKEN", v.Give(vaulttest.Login{Policies: []string{"kv1/"}}))
	_, err = open(t, "vault://secret/x").Token(t.Context(), widgets)
	checkError(t, err, "permission denied, or there is no secrets engine at secret/")
}

func TestKey(t *testing.T) {
	s := open(t, "vault://secret/{owner}/token")
	other := widgets
	other.Path = "acme/gadgets"
	if s.Key(widgets) != s.Key(other) {
		t.Error("two repositories of one owner have two keys")
	}
	other.Path = "elsewhere/gadgets"
	if s.Key(widgets) == s.Key(other) {
		t.Error("two owners share a key")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{"ssm:///x", "its scheme is not vault"},
		{"vault:///secret/x", "it names no mount"},
		{"vault://secret", "it names no secret below the mount"},
		{"vault://secret/", "it names no secret"},
		{"vault://secret/a//b", "it names no secret"},
		{"vault://secret/a/../b", "it names no secret"},
		{"vault://vault.example:8200/secret/x", "the part after vault:// must be the mount, not the address"},
		{"vault://u:p@secret/x", "must not have a user, password or fragment"},
		{"vault://secret/x#y", "fragment"},
		{"vault://secret/{nobody}", "unknown placeholder {nobody}"},
		{"vault://secret/x?kv=3", "kv must be 1 or 2"},
		{"vault://secret/x?fields=a", "unknown key fields; known: field, kv, addr"},
		{"vault://secret/x?field=a&field=b", "given twice"},
		{"vault://secret/x?field=", "is empty"},
		{"vault://secret/x?role={repo}", "only {workspace} is allowed there"},
	} {
		u, err := url.Parse(c.raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = Open(u, "sb-1"); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("Open(%s) = %v, want an error with %q", c.raw, err, c.want)
		}
	}
}

func TestWorkspaceWithDotsReadsNothing(t *testing.T) {
	u, _ := url.Parse("vault://secret/{workspace}/x")
	for _, id := range []string{"..", ".", "a/../b", "a\nb"} {
		if _, err := Open(u, id); err == nil {
			t.Errorf("Open with workspace %q = a source, want an error", id)
		}
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

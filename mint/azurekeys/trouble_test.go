package azurekeys

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/signertest"
)

func TestTroubleThatPasses(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"throttling", refuse(429, "Throttled", "Request was not processed because too many requests were received.", "")},
		{"trouble of Key Vault", refuse(500, "InternalServerError", "", "")},
		{"a page of a gateway", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }},
		{"a lost connection", drop},
		{"an answer that is cut off", cut},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{script: []http.HandlerFunc{c.answer}}
			checkSigned(t, serve(t, d, "/app"), keys[0])
			checkCalls(t, d, 1, 2, 1)
		})
	}
}

func TestTroubleThatStays(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"throttling", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "60")
			refuse(429, "Throttled", "too many requests", "")(w, r)
		}, "Azure throttles this vault: too many requests; try again in a moment"},
		{"trouble of Key Vault", refuse(503, "ServiceUnavailable", "", ""), "Key Vault has an internal error (503)"},
		{"silence", hang, "Azure did not answer in time; check that " + vault + " can be reached from here"},
		{"lost connections", drop, "the vault cannot be reached: EOF; check the network and the proxy"},
		{"answers that are cut off", cut, "the answer is incomplete: unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkNotSigned(t, serve(t, &double{failing: map[string]http.HandlerFunc{"sign": c.answer}}, "/app"), c.want)
		})
	}
}

// checkNotSigned checks that an error comes in time although the service does not
// answer properly.
func checkNotSigned(t *testing.T, s *Signer, want string) {
	t.Helper()
	signature, err := signertest.Late(t, s, digest, want)
	checkError(t, signature, err, want)
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := &double{failing: map[string]http.HandlerFunc{"sign": func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) }}}
	signature, err := serve(t, d, "/app").Sign(ctx, digest)
	checkError(t, signature, err, "the request was cancelled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Sign = %v, want context.Canceled below", err)
	}
}

func TestVaultThatIsNotThere(t *testing.T) {
	n := start(t, &double{})
	delete(n.hosts, vault+":443")
	s := open(t, vault+"/app")
	s.client.transport = n.client()
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "the host "+vault+" cannot be found; check the vault's name in the URL and this machine's DNS")
}

func TestUntrustedCertificate(t *testing.T) {
	d := &double{}
	n := start(t, d)
	_, n.roots = newCertificate(t, vault)
	s := open(t, vault+"/app")
	s.client.transport = n.client()
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "the certificate of the vault is not trusted: ")
	checkCalls(t, d, 0, 0, 0)
}

// A token is only ever for the vault that is asked. What is not a challenge of Key
// Vault causes no request for a token.
func TestChallenges(t *testing.T) {
	const entra = `Bearer authorization="https://login.microsoftonline.com/` + tenant + `"`
	for _, c := range []struct{ name, challenge, want string }{
		{"for another service", entra + `, resource="https://management.azure.com"`, `challenge resource "https://management.azure.com" doesn't match the requested domain`},
		{"for another vault", entra + `, resource="https://evil.example"`, "doesn't match the requested domain"},
		{"for nothing", entra, "could not find a valid resource"},
		{"without a tenant", `Bearer authorization="https://login.microsoftonline.com", resource="https://vault.azure.net"`, "the answer asks for credentials in a way that Key Vault does not"},
		{"without an authority", `Bearer authorization="x", resource="https://vault.azure.net"`, "the answer asks for credentials in a way that Key Vault does not"},
		{"of a proxy", `Basic realm="proxy"`, "the answer asks for credentials in a way that Key Vault does not"},
		{"that is none", " ", "the answer asks for credentials in a way that Key Vault does not"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{challenge: c.challenge}
			signature, err := serve(t, d, "/app").Sign(t.Context(), digest)
			checkError(t, signature, err, "the answer is not from Key Vault: ")
			checkError(t, signature, err, c.want)
			if n := len(d.entra.tokens); n != 0 {
				t.Errorf("%d access tokens were fetched, want none", n)
			}
		})
	}
}

func TestAnotherTenant(t *testing.T) {
	const other = "99999999-3b7d-4a5f-9a4e-6f1c2d3e4f50"
	d := &double{challenge: `Bearer authorization="https://login.microsoftonline.com/` + other + `", resource="https://vault.azure.net"`}
	signature, err := serve(t, d, "/app").Sign(t.Context(), digest)
	checkError(t, signature, err, "the credentials give no access token: DefaultAzureCredential: failed to acquire a token.")
}

// A long-lived program uses credentials that were renewed since it started.
func TestFreshCredentialsAreFound(t *testing.T) {
	d := &double{}
	s := serve(t, d, "/app")
	t.Setenv("AZURE_CLIENT_SECRET", "wrong-"+secret)
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "Microsoft Entra ID does not accept the credentials: invalid_client: AADSTS7000215: Invalid client secret provided.; set AZURE_TENANT_ID")
	t.Setenv("AZURE_CLIENT_SECRET", secret)
	checkSigned(t, s, keys[0])
	d.entra.mu.Lock()
	d.entra.tokens, d.entra.secret = nil, "renewed-"+secret // all tokens are revoked
	d.entra.mu.Unlock()
	signature, err = s.Sign(t.Context(), digest)
	checkError(t, signature, err, "Microsoft Entra ID does not accept the credentials: invalid_client")
	t.Setenv("AZURE_CLIENT_SECRET", "renewed-"+secret)
	checkSigned(t, s, keys[0])
}

// A token of another tenant than the vault's.
func TestVaultThatTakesNoToken(t *testing.T) {
	d := &double{failing: map[string]http.HandlerFunc{}}
	d.failing["get"] = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", d.challenge)
		refuse(401, "Unauthorized", "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/x/, found https://sts.windows.net/y/.", "")(w, r)
	}
	signature, err := serve(t, d, "/app").Sign(t.Context(), digest)
	checkError(t, signature, err, "Key Vault does not accept the credentials: AKV10032: Invalid issuer. Expected one of https://sts.windows.net/x/, found https://sts.windows.net/y/.; log in to the tenant of the vault: set AZURE_TENANT_ID")
}

func TestEntraThatFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"a refusal", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 400, map[string]any{"error": "unauthorized_client", "error_description": "AADSTS700016: Application was not found"})
		}, "Microsoft Entra ID does not accept the credentials: unauthorized_client: AADSTS700016: Application was not found"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusForbidden) }, "Microsoft Entra ID does not accept the credentials: 403 Forbidden"},
		{"no token", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, map[string]any{}) }, "the credentials give no access token: "},
		{"trouble", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusServiceUnavailable) }, "Microsoft Entra ID does not accept the credentials: 503 Service Unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, &double{entra: &entra{authority: "login.microsoftonline.com", secret: secret, refusal: c.answer}}, "/app")
			signature, err := s.Sign(t.Context(), digest)
			checkError(t, signature, err, c.want)
		})
	}
	t.Run("silence", func(t *testing.T) {
		s := serve(t, &double{entra: &entra{authority: "login.microsoftonline.com", secret: secret, refusal: hang}}, "/app")
		checkNotSigned(t, s, "the access token did not arrive in time; check that the server of the credentials can be reached from here")
	})
}

func unset(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		t.Setenv(name, "") // which restores it afterwards
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	s := serve(t, &double{}, "/app")
	unset(t, "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "prod")
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "there are no Azure credentials (environment, workload identity, managed identity, az login); set AZURE_TENANT_ID")
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "magic")
	signature, err = s.Sign(t.Context(), digest)
	checkError(t, signature, err, `the credentials cannot be chosen: invalid AZURE_TOKEN_CREDENTIALS value "magic".`)
}

func TestManagedIdentity(t *testing.T) {
	d := &double{}
	n := start(t, d)
	d.entra.machine = "https://vault.azure.net/.default"
	server := httptest.NewServer(http.HandlerFunc(d.entra.metadata))
	t.Cleanup(server.Close)
	n.hosts["169.254.169.254:80"] = strings.TrimPrefix(server.URL, "http://")
	unset(t, "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST")
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "prod")
	s := open(t, vault+"/app")
	s.client.transport = n.client()
	checkSigned(t, s, keys[0])
	checkCalls(t, d, 1, 1, 1)
}

// The token of az login, with a fake az.
func TestAzureCLI(t *testing.T) {
	d := &double{}
	s := serve(t, d, "/app")
	d.entra.mu.Lock()
	token := d.entra.give("https://vault.azure.net/.default")
	d.entra.mu.Unlock()
	dir := t.TempDir()
	program := "#!/bin/sh\necho '{\"accessToken\":\"" + token + "\",\"expires_on\":4102444800,\"tokenType\":\"Bearer\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "AzureCLICredential")
	checkSigned(t, s, keys[0])
}

func FuzzIsChallenge(f *testing.F) {
	for _, s := range []string{
		`Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`,
		`Bearer authorization="x"`, `authorization=`, `authorization="https:///x"`, `authorization="https://a/b", authorization="c"`, "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if !isChallenge(header) {
			return
		}
		// What the client does with it must not panic.
		for part := range strings.SplitSeq(strings.ReplaceAll(header, "Bearer ", ""), " ") {
			if pair := strings.Split(part, "="); len(pair) == 2 && pair[0] == "authorization" {
				address := strings.TrimSuffix(strings.ReplaceAll(pair[1], `"`, ""), ",")
				if address != "" && len(strings.Split(address, "/")) < 4 {
					t.Errorf("isChallenge(%q) = true, and it names no tenant", header)
				}
			}
		}
	})
}

func FuzzParseRefusal(f *testing.F) {
	f.Add(`{"error":{"code":"Forbidden","message":"x","innererror":{"code":"KeyDisabled"}}}`)
	f.Add(`{"error":"x"}`)
	f.Add("<html>")
	f.Fuzz(func(t *testing.T, text string) {
		r := parseRefusal([]byte(text))
		told := explainForbidden("get", r).Error()
		if strings.ContainsAny(told, "\n\r\x1b") || len(told) > 6*maxShown+300 {
			t.Errorf("of %q is told %q", text, told)
		}
	})
}

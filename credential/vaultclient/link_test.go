package vaultclient

import (
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatepass/gatepass/test/vaulttest"
)

// serve starts h and returns the client of a query, to which it adds the address of h.
func serve(t *testing.T, h http.Handler, query string) *Client {
	t.Helper()
	isolate(t)
	t.Setenv("VAULT_TOKEN", "hvs.secret")
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return at(t, server.URL, query)
}

func at(t *testing.T, address, query string) *Client {
	t.Helper()
	c, _, err := Open("source vault://secret/x", "addr="+url.QueryEscape(address)+"&"+query, "sb-1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRequestOnTheWire(t *testing.T) {
	var got *http.Request
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = io.WriteString(w, `{"data":{"token":"y"}}`)
	}), "namespace=team/{workspace}/")
	if _, err := c.Read(t.Context(), "read", "secret/a b?c#d%"); err != nil {
		t.Fatal(err)
	}
	if got.URL.Path != "/v1/secret/a b?c#d%" || got.URL.RawQuery != "" {
		t.Errorf("path = %q with query %q, want the path as it is", got.URL.Path, got.URL.RawQuery)
	}
	if h := got.Header; h.Get("X-Vault-Token") != "hvs.secret" || h.Get("X-Vault-Namespace") != "team/sb-1" || h.Get("X-Vault-Request") != "true" {
		t.Errorf("header = %v", h)
	}
}

func TestAddressKeepsItsPath(t *testing.T) {
	v := &vaulttest.Vault{}
	c := serve(t, http.StripPrefix("/vault", v), "")
	c.settings.addr += "/vault/"
	_, err := c.Read(t.Context(), "read", "secret/x")
	checkError(t, err, "Vault does not know")
	if len(v.Invalid()) > 0 {
		t.Errorf("invalid requests %q", v.Invalid())
	}
}

func TestRedirects(t *testing.T) {
	var stolen atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	defer other.Close()
	to := func(target string, status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/active") {
				_, _ = io.WriteString(w, `{"data":{"token":"y"}}`)
				return
			}
			w.Header().Set("Location", target)
			w.WriteHeader(status)
		})
	}
	c := serve(t, to("/active/v1/secret/x", http.StatusTemporaryRedirect), "")
	if err := read(t, c); err != nil {
		t.Errorf("Read through a redirect on the same address = %v, want the secret", err)
	}
	c = serve(t, to(other.URL+"/v1/secret/x", http.StatusTemporaryRedirect), "")
	checkError(t, read(t, c), "it redirects to "+other.URL+"/v1/secret/x; if that is right, put that address into addr")
	c = serve(t, to("/v1/loop", http.StatusTemporaryRedirect), "")
	checkError(t, read(t, c), "it redirects to /v1/loop")
	if stolen.Load() != 0 {
		t.Error("another address was asked, want never")
	}
}

func TestStrangeAnswers(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"a web page", "<html>hvs.secret</html>", "its answer is not JSON of Vault; check that addr in the URL, or VAULT_ADDR, names a Vault"},
		{"two objects", "{}{}", "its answer is not JSON of Vault"},
		{"a flood", `{"data":{"token":"` + strings.Repeat("a", maxAnswer) + `"}}`, "its answer is over 1 MiB"},
	} {
		client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.body) }), "")
		_, err := client.Read(t.Context(), "read secret/x", "secret/x")
		t.Run(c.name, func(t *testing.T) { checkError(t, err, c.want) })
	}
}

func TestTLS(t *testing.T) {
	isolate(t)
	v := newVault()
	server := httptest.NewUnstartedServer(v)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	t.Setenv("VAULT_TOKEN", v.Give(vaulttest.Login{}))
	ca := writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))

	c := at(t, server.URL, "")
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	checkError(t, read(t, c), "its certificate is not trusted", "ca_file=PEM in the URL or VAULT_CACERT (gatepass ignores VAULT_SKIP_VERIFY)")
	t.Setenv("VAULT_CACERT", ca) // as if the file had been replaced
	if err := read(t, c); err != nil {
		t.Errorf("Read after the authorities were mended = %v, want the secret", err)
	}
	t.Setenv("VAULT_CACERT", "")
	if err := read(t, at(t, server.URL, "ca_file="+ca)); err != nil {
		t.Errorf("Read with ca_file = %v, want the secret", err)
	}
	t.Setenv("VAULT_CAPATH", filepath.Dir(ca))
	if err := read(t, at(t, server.URL, "")); err != nil {
		t.Errorf("Read with VAULT_CAPATH = %v, want the secret", err)
	}
	t.Setenv("VAULT_TLS_SERVER_NAME", "elsewhere.test")
	checkError(t, read(t, at(t, server.URL, "ca_file="+ca)), "its certificate is not trusted", "elsewhere.test")
	t.Setenv("VAULT_TLS_SERVER_NAME", "")
	checkError(t, read(t, at(t, server.URL, "ca_file=/does/not/exist")), "no such file", "correct ca_file in the URL")
	t.Setenv("VAULT_CACERT", writeFile(t, "nothing"))
	checkError(t, read(t, at(t, server.URL, "")), "no certificate in PEM form; correct VAULT_CACERT")
	t.Setenv("VAULT_CLIENT_CERT", ca)
	checkError(t, read(t, at(t, server.URL, "ca_file="+ca)), "correct VAULT_CLIENT_CERT and VAULT_CLIENT_KEY")
}

func TestPlainServerBehindHTTPS(t *testing.T) {
	isolate(t)
	t.Setenv("VAULT_TOKEN", "hvs.secret")
	server := httptest.NewServer(newVault())
	defer server.Close()
	checkError(t, read(t, at(t, "https"+strings.TrimPrefix(server.URL, "http"), "")), "no TLS connection", "check scheme and port")
}

func TestAddresses(t *testing.T) {
	isolate(t)
	t.Setenv("VAULT_TOKEN", "hvs.secret")
	c, _, err := Open("source vault://secret/x", "", "")
	if err != nil {
		t.Fatal(err)
	}
	checkError(t, read(t, c), "the address of Vault is not set; add &addr=https://host[:port] to the URL or set VAULT_ADDR")
	t.Setenv("VAULT_ADDR", "http://vault.example:8200")
	checkError(t, read(t, c), "VAULT_ADDR must be an https URL, or http on this machine")
	t.Setenv("VAULT_ADDR", "https://user:hvs.secret@vault.example")
	checkError(t, read(t, c), "VAULT_ADDR is not an address")
	if got := c.Where(); got != "Vault at https://vault.example" {
		t.Errorf("Where() = %q, want it without the user", got)
	}
}

func TestVaultIsDown(t *testing.T) {
	const address = "http://127.0.0.1:1" // where no server listens
	isolate(t)
	t.Setenv("VAULT_TOKEN", "hvs.secret")
	checkError(t, read(t, at(t, address, "")), "Vault cannot be reached", "connection refused; check that Vault runs")
}

func TestDroppedConnectionIsTriedAgain(t *testing.T) {
	v := newVault()
	c := serve(t, v, "")
	t.Setenv("VAULT_TOKEN", v.Give(vaulttest.Login{}))
	v.FailNext(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "500")
		_, _ = io.WriteString(w, `{"data"`)
	})
	if err := read(t, c); err != nil || len(v.Calls()) != 3 {
		t.Errorf("Read = %v after %q, want the secret after three calls", err, v.Calls())
	}
}

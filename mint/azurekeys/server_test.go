package azurekeys

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func isolate(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_AUTHORITY_HOST",
		"AZURE_FEDERATED_TOKEN_FILE", "AZURE_ADDITIONALLY_ALLOWED_TENANTS", "AZURE_REGIONAL_AUTHORITY_NAME", "AZURE_USERNAME",
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST",
		"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AZURE_TENANT_ID", tenant)
	t.Setenv("AZURE_CLIENT_ID", client)
	t.Setenv("AZURE_CLIENT_SECRET", secret)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
}

// wires lead to the doubles by their names, and nowhere else.
type wires struct {
	roots *x509.CertPool
	hosts map[string]string // where a name and port lead
}

func (n *wires) dial(ctx context.Context, _, address string) (net.Conn, error) {
	to, ok := n.hosts[address]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", to)
}

func (n *wires) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: n.dial, TLSClientConfig: &tls.Config{RootCAs: n.roots}}}
}

// start serves d and its entra over TLS, with certificates for their names.
func start(t *testing.T, d *double) *wires {
	t.Helper()
	isolate(t)
	if d.host == "" {
		d.host = vault
	}
	if d.entra == nil {
		d.entra = &entra{authority: "login.microsoftonline.com", secret: secret}
	}
	if d.versions == nil {
		d.versions = []held{usable(first, keys[0])}
	}
	if d.challenge == "" {
		d.challenge = fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="https://%s"`, d.entra.authority, tenant, suffixOf(d.host))
	}
	certificate, roots := newCertificate(t, d.host, d.entra.authority)
	n := &wires{roots: roots, hosts: map[string]string{}}
	for name, handler := range map[string]http.Handler{d.host: d, d.entra.authority: d.entra} {
		server := httptest.NewUnstartedServer(handler)
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // about certificates that are refused
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		server.StartTLS()
		t.Cleanup(server.Close)
		n.hosts[name+":443"] = strings.TrimPrefix(server.URL, "https://")
	}
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if bad := append(d.invalid, d.entra.invalid...); len(bad) > 0 {
			t.Errorf("Azure was sent invalid requests: %q", bad)
		}
	})
	return n
}

func newCertificate(t *testing.T, hosts ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: hosts, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

func open(t *testing.T, rest string) *Signer {
	t.Helper()
	u, err := url.Parse("azurekeys://" + rest)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve opens a key of d, such as /app.
func serve(t *testing.T, d *double, path string) *Signer {
	t.Helper()
	n := start(t, d)
	s := open(t, d.host+path)
	s.client.transport = n.client()
	return s
}

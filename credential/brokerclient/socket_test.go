//go:build unix

package brokerclient

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/credential/credentialtest"
)

// listen starts a broker on a socket of its own.
func listen(t *testing.T, b *credentialtest.Broker) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gp") // the path of t.TempDir can be longer than a socket's name may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "b.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: b}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return path
}

func TestSocket(t *testing.T) {
	t.Setenv(IdentityVariable, "")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	b := &credentialtest.Broker{}
	s := open(t, "broker+unix://"+listen(t, b))
	if token, err := s.Token(t.Context(), widgets); err != nil || token.Secret() != credentialtest.Secret(1) {
		t.Errorf("Token = %v, %v, want token 1", token, err)
	}
}

func TestSocketCanCarryAnIdentity(t *testing.T) {
	b := &credentialtest.Broker{Identities: map[string]string{bearer: "sb-1"}}
	s := open(t, "broker+unix://"+listen(t, b)+"?identity_file="+writeFile(t, "identity", bearer))
	if _, err := s.Token(t.Context(), widgets); err != nil {
		t.Errorf("Token = %v, want a token", err)
	}
}

func TestSocketOfAStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to give a socket to another user")
	}
	b := &credentialtest.Broker{}
	path := listen(t, b)
	if err := os.Chown(path, 4711, 4711); err != nil {
		t.Skip("missing: the right to give a socket to another user")
	}
	if _, err := open(t, "broker+unix://"+path).Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "belongs to user 4711") {
		t.Errorf("Token = %v, want an error that names the owner", err)
	}
	if b.Calls() != 0 {
		t.Errorf("the broker was asked %d times, want never", b.Calls())
	}
	if _, err := open(t, "broker+unix://"+path+"?owner=4711").Token(t.Context(), widgets); err != nil {
		t.Errorf("Token with owner=4711 = %v, want a token", err)
	}
}

func TestPathThatIsNoSocket(t *testing.T) {
	path := writeFile(t, "file", "")
	if _, err := open(t, "broker+unix://"+path).Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "it is not a socket") {
		t.Errorf("Token = %v, want an error about the file", err)
	}
}

func TestTLSIsVerified(t *testing.T) {
	b := &credentialtest.Broker{}
	_, server := serve(t, under(b))
	identityFile := writeFile(t, "identity", bearer)
	trusted := sourceURL(t, server, identityFile)
	old := quiet(b)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11}
	old.StartTLS()
	defer old.Close()
	plain := httptest.NewServer(b)
	defer plain.Close()
	for _, c := range []struct{ name, url, want string }{
		{"an unknown authority", "broker+" + server.URL + "?identity_file=" + identityFile, "not trusted"},
		{"another host's certificate", strings.Replace(trusted, "127.0.0.1", "localhost", 1), "not trusted"},
		{"TLS 1.1", sourceURL(t, old, identityFile), "no TLS connection"},
		{"no TLS at all", "broker+https://" + plain.Listener.Addr().String() + "?identity_file=" + identityFile, "no TLS connection"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, c.url)
			if _, err := s.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Token = %v, want an error with %q", err, c.want)
			}
		})
	}
	if b.Calls() != 0 {
		t.Errorf("the broker was asked %d times, want never", b.Calls())
	}
}

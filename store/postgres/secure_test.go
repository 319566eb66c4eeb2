//go:build unix

package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/postgrestest"
)

// selfSigned returns a certificate for an address and its key, in PEM.
func selfSigned(t *testing.T, ip string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// verify-full takes the server that it was told of, and no other.
func TestRealTLS(t *testing.T) {
	certificate, key := selfSigned(t, "127.0.0.1")
	stranger, strangersKey := selfSigned(t, "127.0.0.2")
	server := postgrestest.New(t, "fsync=off")
	get := func(query string) error {
		_, err := openStore(t, server.URL(query)).Get(t.Context(), store.Signer())
		return err
	}
	ours, others := "sslmode=verify-full&sslrootcert="+write(t, certificate), "sslmode=verify-full&sslrootcert="+write(t, stranger)
	checkError(t, get(ours), "no TLS connection", "enable TLS on the server, or correct sslmode")
	server.Kill()
	server.Start("ssl=on", "ssl_cert_file="+server.Write("tls.crt", certificate), "ssl_key_file="+server.Write("tls.key", key))
	if _, _, err := openStore(t, server.URL(ours)).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := get(ours); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	checkError(t, get(others), "the server's certificate is not trusted", "sslrootcert")
	server.Kill()
	server.Write("tls.crt", stranger)
	server.Write("tls.key", strangersKey)
	server.Start()
	checkError(t, get(others), "the server's certificate is not trusted") // trusted, and another host's
}

// The rights that docs/postgres.md lists are enough, and a password is replaced without a
// restart.
func TestRealPasswordsAreReplaced(t *testing.T) {
	server := migrated(t)
	page, err := os.ReadFile("../../docs/postgres.md")
	if err != nil {
		t.Skip("missing: docs/postgres.md is not here")
	}
	_, rest, _ := strings.Cut(string(page), "```sql\n")
	grants, _, _ := strings.Cut(rest, "```")
	server.Exec("gatepass", "CREATE ROLE app LOGIN PASSWORD 'first-secret'")
	server.Exec("gatepass", strings.ReplaceAll(grants, "TO gatepass", "TO app"))
	server.Kill()
	server.Start("hba_file=" + server.Write("hba.conf", "host all gatepass 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"))
	file := write(t, "*:*:*:*:first-secret\n")
	s := openStore(t, strings.Replace(server.URL("passfile="+file), "gatepass@", "app@", 1))
	s.wrapper = newVault(t)
	put(t, s, store.Signer(), "x")
	if _, err := s.Swap(t.Context(), store.Signer(), store.NewSecret("y"), "", noon); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Swap = %v, want ErrChanged", err)
	}
	server.Exec("gatepass", "ALTER ROLE app PASSWORD 'second-secret'")
	server.Cut()
	_, err = s.Get(t.Context(), store.Signer())
	if checkError(t, err, "does not let this user in", "check the user, its password"); strings.Contains(err.Error(), "secret") {
		t.Errorf("the error %q has the password", err)
	}
	if err := os.WriteFile(file, []byte("*:*:*:*:second-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Get(t.Context(), store.Signer()); err != nil || e.Value.Reveal() != "x" {
		t.Errorf("Get with the new password = %v, want the value", err)
	}
	if err := s.Delete(t.Context(), store.Signer()); err != nil {
		t.Errorf("Delete = %v", err)
	}
}

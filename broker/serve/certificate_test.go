package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// renew writes another pair under a name.
func renew(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	put(t, filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestAPairThatIsRenewed(t *testing.T) {
	dir := t.TempDir()
	renew(t, dir, "one")
	p, err := LoadCertificate(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	var failures []string
	p.Failed = func(err error) { failures = append(failures, err.Error()) }
	shows := func(want string) {
		t.Helper()
		p.looked = time.Time{}
		got, err := p.Get(nil)
		if err != nil || got.Leaf.Subject.CommonName != want {
			t.Errorf("Get = %v, %v, want %s", got.Leaf.Subject, err, want)
		}
	}
	shows("one")
	renew(t, dir, "two")
	shows("two")
	if !p.Expires().After(time.Now()) {
		t.Errorf("Expires = %v", p.Expires())
	}
	put(t, filepath.Join(dir, "tls.crt"), []byte("half a certif"))
	shows("two")
	shows("two")
	if len(failures) != 1 || strings.Contains(failures[0], "\n") {
		t.Errorf("the failures are %q, want one line once", failures)
	}
	if err := os.Remove(filepath.Join(dir, "tls.key")); err != nil {
		t.Fatal(err)
	}
	shows("two")
	renew(t, dir, "three")
	shows("three")
	if len(failures) != 2 {
		t.Errorf("the failures are %q, want one more", failures)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadCertificate(filepath.Join(dir, "none"), filepath.Join(dir, "none")); err == nil {
		t.Error("files that are not there are a pair")
	}
}

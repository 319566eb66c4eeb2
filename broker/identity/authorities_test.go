package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// A file is read again if and only if something about it has changed.
func TestWhatCountsAsAChange(t *testing.T) {
	then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name   string
		change func(path string) error
		reads  int
	}{
		{"nothing", func(string) error { return nil }, 1},
		{"the text, in place", func(path string) error { return os.WriteFile(path, []byte("two"), 0o600) }, 2},
		{"the length alone", func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("three"), 0o600), os.Chtimes(path, then, then))
		}, 2},
		{"the file, by another of the same length and time", func(path string) error {
			return errors.Join(os.WriteFile(path+"x", []byte("two"), 0o600), os.Chtimes(path+"x", then, then), os.Rename(path+"x", path))
		}, 2},
	} {
		path, reads := filepath.Join(t.TempDir(), "authorities"), 0
		if err := errors.Join(os.WriteFile(path, []byte("one"), 0o600), os.Chtimes(path, then, then)); err != nil {
			t.Fatal(err)
		}
		a := &authorities{path: path, parse: func([]byte) ([]*x509.Certificate, error) {
			reads++
			return []*x509.Certificate{{}}, nil
		}}
		for _, step := range []func(string) error{func(string) error { return nil }, c.change} {
			if err := step(path); err != nil {
				t.Fatal(err)
			}
			if _, err := a.get(then); err != nil {
				t.Fatal(err)
			}
		}
		if reads != c.reads {
			t.Errorf("%s changed: the file is read %d times, want %d", c.name, reads, c.reads)
		}
	}
}

// The time for which authorities outlast their file begins when it was last seen.
func TestAuthoritiesOutlastTheirFileForAWhile(t *testing.T) {
	path, now := file(t, newAuthority(t, "one", nil).pem()), time.Now()
	a := newAuthorities(MTLSSettings{CAFile: path})
	for _, at := range []time.Duration{0, time.Hour} {
		if _, err := a.get(now.Add(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if all, err := a.get(now.Add(time.Hour + stale)); err != nil || len(all) != 1 {
		t.Errorf("get after %v without the file = %d, %v, want the authority", stale, len(all), err)
	}
	_, err := a.get(now.Add(time.Hour + stale + 1))
	if err == nil || !strings.Contains(err.Error(), "no such file") || strings.Count(err.Error(), path) != 1 {
		t.Errorf("get after longer = %v, want an error that names the file once", err)
	}
}

func TestWithoutAuthoritiesNoneIsNamed(t *testing.T) {
	leaf := newAuthority(t, "one", nil).leaf(nil, "spiffe://prod.example/x")
	cert, err := x509.ParseCertificate(leaf.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	i := NewMTLS(MTLSSettings{CAFile: filepath.Join(t.TempDir(), "missing")})
	if _, err := i.Identify(t.Context(), r); !errors.Is(err, broker.ErrNoProof) {
		t.Errorf("Identify without TLS = %v, want ErrNoProof", err)
	}
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	_, err = i.Identify(t.Context(), r)
	if refusal, ok := errors.AsType[*broker.Refusal](err); !ok || refusal.Status != http.StatusServiceUnavailable || refusal.RetryAfter == 0 {
		t.Errorf("Identify = %v, want 503 and when to come back", err)
	}
}

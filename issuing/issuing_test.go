package issuing

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/testkey"
)

var testKey = newKey(0)

func newKey(index int) string {
	key := testkey.RSA(2048, index)
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func newStore(t *testing.T) store.Store {
	t.Helper()
	s, err := OpenStore("file://" + t.TempDir() + "/store")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ofFile(id string) Credentials {
	return Credentials{ID: id, PrivateKey: store.NewSecret(testKey)}
}

func TestOpenStoreRefuses(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"", "this is not a URL"},
		{"/var/lib/gatepass", "this is not a URL"},
		{"s3://bucket", "unknown store s3://; write one of ssm:///"},
		{"file://x", "absolute path"},
		{"vault://", "names no mount"},
		{"kubernetes://", "must name a namespace"},
	} {
		s, err := OpenStore(c.url)
		if err == nil || s != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("OpenStore(%q) = %v, %v, want an error with %q", c.url, s, err, c.want)
		}
	}
}

func TestStoreURL(t *testing.T) {
	home := map[string]string{"HOME": "/home/x"}
	data := map[string]string{"HOME": "/home/x", "XDG_DATA_HOME": "/data dir"}
	relative := map[string]string{"HOME": "/home/x", "XDG_DATA_HOME": "data"}
	user := func(path string) string {
		if os.Geteuid() == 0 {
			return "file://" + systemStore
		}
		return path
	}
	for _, c := range []struct {
		name, option string
		env          map[string]string
		want         string
	}{
		{"the option wins", "ssm:///a", map[string]string{StoreVariable: "ssm:///b"}, "ssm:///a"},
		{"then the variable", "", map[string]string{StoreVariable: "ssm:///b"}, "ssm:///b"},
		{"then a folder of the user's", "", home, user("file:///home/x/.local/share/gatepass/store")},
		{"where XDG says", "", data, user("file:///data%20dir/gatepass/store")},
		{"unless that is relative", "", relative, user("file:///home/x/.local/share/gatepass/store")},
	} {
		if got, err := StoreURL(c.option, func(k string) string { return c.env[k] }); err != nil || got != c.want {
			t.Errorf("%s: StoreURL = %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestSavedIsLoaded(t *testing.T) {
	s := newStore(t)
	if _, err := LoadApp(t.Context(), s, ""); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "gatepass app create") {
		t.Fatalf("LoadApp of an empty store = %v, want what to do", err)
	}
	c := ofFile("Iv23liA")
	c.GitHub = "https://ghe.example"
	if err := Save(t.Context(), s, c, store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	app, err := LoadApp(t.Context(), s, "")
	if err != nil || app.ID != "Iv23liA" || app.URL != "https://ghe.example/api/v3" || app.GitHub != "https://ghe.example" {
		t.Errorf("LoadApp = %+v, %v, want what was saved", app, err)
	}
	if app, err = LoadApp(t.Context(), s, mint.DefaultGitHub); err != nil || app.URL != mint.DefaultURL {
		t.Errorf("LoadApp(github.com) = %+v, %v, want what was named", app, err)
	}
	if err := Save(t.Context(), s, ofFile("Iv23liB"), store.CreateOnly); !errors.Is(err, store.ErrExists) {
		t.Errorf("Save again = %v, want ErrExists", err)
	}
}

// When a KMS key replaces the private key, that must be deleted.
func TestSaveReplacesWhole(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	c := ofFile("Iv23liA")
	c.GitHub = "https://ghe.example"
	kms := Credentials{ID: "Iv23liB", Signer: "awskms:///alias/x?region=us-east-1"}
	for _, next := range []Credentials{c, kms, ofFile("Iv23liC")} {
		if err := Save(ctx, s, next, store.Replace); err != nil {
			t.Fatal(err)
		}
		if app, err := LoadApp(ctx, s, ""); err != nil || app.ID != next.ID {
			t.Errorf("LoadApp = %v, %v, want the App %s", app, err, next.ID)
		}
		_, keyErr := s.Get(ctx, store.PrivateKey())
		_, signerErr := s.Get(ctx, store.Signer())
		if (keyErr == nil) == (signerErr == nil) || (signerErr == nil) != (next.Signer != "") {
			t.Errorf("%s: private key: %v, signer: %v, want one of them", next.ID, keyErr, signerErr)
		}
	}
}

// failing refuses the write of one name.
type failing struct {
	store.Store
	name store.Name
}

func (f failing) Put(ctx context.Context, n store.Name, v store.Secret, m store.Mode) error {
	if n == f.name {
		return errors.New("no space")
	}
	return f.Store.Put(ctx, n, v, m)
}

func TestAFailedSaveLeavesWhatWas(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	old := Credentials{ID: "Iv23liA", Signer: "awskms:///alias/x?region=us-east-1", GitHub: "https://ghe.example"}
	if err := Save(ctx, s, old, store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	if err := Save(ctx, failing{s, store.AppClientID()}, ofFile("Iv23liB"), store.Replace); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Fatalf("Save = %v, want the store's error", err)
	}
	app, err := LoadApp(ctx, s, "")
	if err != nil || app.ID != old.ID || app.GitHub != old.GitHub {
		t.Errorf("LoadApp = %+v, %v, want the App of before", app, err)
	}
	if _, err := s.Get(ctx, store.PrivateKey()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the new key is still there: %v", err)
	}
}

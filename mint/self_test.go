package mint

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/testkey"
)

var _ PublicKeyer = (*KeySigner)(nil)

func TestSelfNamesTheApp(t *testing.T) {
	g := newGitHub(t)
	byClientID := g.app.ID
	self, err := g.app.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if self.Slug != "gatepass" || self.Owner.Login != "app-owner" || self.ClientID != byClientID || self.Installations != 1 || self.Permissions["contents"] != "write" {
		t.Errorf("Self = %+v, want the App gatepass of app-owner with one installation", self)
	}
	byID := &App{ID: strconv.FormatInt(self.ID, 10), Signer: g.signer, URL: g.app.URL, Client: g.app.Client, Now: g.Now}
	if again, err := byID.Self(t.Context()); err != nil || again.ID != self.ID {
		t.Errorf("Self by App ID = %+v, %v, want the same App", again, err)
	}
}

func TestSelfRefusesAForeignKey(t *testing.T) {
	g := newGitHub(t)
	other := testkey.RSA(2048, 1)
	for _, c := range []struct {
		name   string
		id     string
		key    *rsa.PrivateKey
		status int
	}{
		{"another key", g.app.ID, other, http.StatusUnauthorized},
		{"no such App", "Iv23liNobody", testKey, http.StatusNotFound},
	} {
		app := &App{ID: c.id, Signer: &KeySigner{c.key}, URL: g.app.URL, Client: g.app.Client, Now: g.Now}
		self, err := app.Self(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != BadKey || e.Status != c.status {
			t.Errorf("%s: Self = %+v, %v, want BadKey with status %d", c.name, self, err, c.status)
		}
	}
}

// said answers every request with one body.
type said string

func (s said) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(s))), Request: r}, nil
}

func TestSelfBelievesNoOtherAnswer(t *testing.T) {
	for _, body := range []said{`{}`, `{"id":7,"client_id":"Iv23liOther"}`, `{"id":0,"client_id":"Iv23liMine"}`, `<html>`, `null`} {
		app := &App{ID: "Iv23liMine", Signer: &KeySigner{testKey}, URL: "https://github.test", Client: &http.Client{Transport: body}}
		self, err := app.Self(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Unavailable {
			t.Errorf("Self for the answer %s = %+v, %v, want Unavailable", body, self, err)
		}
	}
}

// The fingerprint is the one that GitHub's documentation computes with OpenSSL.
func TestFingerprintIsGitHubs(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("missing: openssl")
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `"$0" rsa -pubout -outform DER | "$0" sha256 -binary | "$0" base64`, openssl)
	cmd.Stdin = strings.NewReader(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey)})))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Fingerprint(&testKey.PublicKey), "SHA256:"+strings.TrimSpace(string(out)); got != want {
		t.Errorf("Fingerprint = %s, want %s", got, want)
	}
}

func TestCheckSignature(t *testing.T) {
	digest := sha256.Sum256([]byte("x"))
	good, err := (&KeySigner{testKey}).Sign(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	twice := sha256.Sum256(digest[:])
	hashedTwice, err := (&KeySigner{testKey}).Sign(t.Context(), twice)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckSignature(&testKey.PublicKey, digest, good); err != nil {
		t.Errorf("CheckSignature of a good one = %v", err)
	}
	for _, bad := range [][]byte{nil, good[1:], hashedTwice} {
		if CheckSignature(&testKey.PublicKey, digest, bad) == nil {
			t.Errorf("CheckSignature(%x) = nil, want an error", bad)
		}
	}
}

func FuzzParsePublicKey(f *testing.F) {
	der, err := x509.MarshalPKIXPublicKey(&testKey.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(der[:40])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := ParsePublicKey(der)
		if err == nil && key.N.BitLen() < minKeyBits {
			t.Errorf("ParsePublicKey = a key of %d bits, want at least %d", key.N.BitLen(), minKeyBits)
		}
	})
}

// GitHub does not say whether an App is public; it shows a public one to everyone. From
// any other answer nothing follows.
func TestIsPublic(t *testing.T) {
	g := newGitHub(t)
	self, err := g.app.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rate, _ := g.app.Rate()
	if public, err := g.app.IsPublic(t.Context(), self); public || err != nil {
		t.Errorf("IsPublic of a private App = %t, %v, want false", public, err)
	}
	other, err := g.AddApp(fakegithub.App{Slug: "open", Public: true})
	if err != nil {
		t.Fatal(err)
	}
	shown := Registration{ID: other.ID, Slug: "open", Owner: self.Owner}
	if public, err := g.app.IsPublic(t.Context(), shown); !public || err != nil {
		t.Errorf("IsPublic of a public App = %t, %v, want true", public, err)
	}
	shown.ID++
	if public, err := g.app.IsPublic(t.Context(), shown); public || err == nil {
		t.Errorf("IsPublic of an answer about another App = %t, %v, want an error", public, err)
	}
	enterprise := Registration{ID: 1, Slug: "none", Owner: Account{Login: "big", Type: "Enterprise"}}
	if public, err := g.app.IsPublic(t.Context(), enterprise); public || err == nil {
		t.Errorf("IsPublic of an enterprise's App = %t, %v, want it left open", public, err)
	}
	// The rate limit of an anonymous request is not the App's.
	if now, ok := g.app.Rate(); !ok || now.Limit != rate.Limit {
		t.Errorf("Rate = %+v, want the App's own, %+v", now, rate)
	}
}

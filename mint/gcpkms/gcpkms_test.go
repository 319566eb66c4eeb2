package gcpkms

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"net/url"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/mint/signer"
	"github.com/gatepass/gatepass/test/signertest"
	"github.com/gatepass/gatepass/test/testkey"
)

var (
	_ mint.Signer      = (*Signer)(nil)
	_ mint.PublicKeyer = (*Signer)(nil)

	digest = sha256.Sum256([]byte("header.claims"))
)

const (
	list = "ListCryptoKeyVersions"
	look = "GetPublicKey"
	sign = "AsymmetricSign"
	one  = appKey + "/cryptoKeyVersions/1"
)

// checkSigned checks a signature by a key.
func checkSigned(t *testing.T, s *Signer, key *rsa.PrivateKey) {
	t.Helper()
	signature, err := s.Sign(t.Context(), digest)
	if err != nil {
		t.Fatalf("Sign = %v, want a signature", err)
	}
	if err := mint.CheckSignature(&key.PublicKey, digest, signature); err != nil {
		t.Error(err)
	}
}

func checkCalls(t *testing.T, d *double, lists, looks, signs int) {
	t.Helper()
	if l, k, n := d.count(list), d.count(look), d.count(sign); l != lists || k != looks || n != signs {
		t.Errorf("%d lists, %d looks at the key and %d signatures, want %d, %d and %d", l, k, n, lists, looks, signs)
	}
}

func TestSign(t *testing.T) {
	d := &double{}
	s := serve(t, d, one)
	checkSigned(t, s, keys[0])
	checkSigned(t, s, keys[0])
	public, err := s.PublicKey(t.Context())
	if err != nil || !public.Equal(&keys[0].PublicKey) {
		t.Errorf("PublicKey = %v, %v, want the key's", public, err)
	}
	checkCalls(t, d, 0, 1, 2)
}

func TestManySignAtOnce(t *testing.T) {
	d := &double{}
	s := serve(t, d, appKey)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := s.Sign(t.Context(), digest); err != nil {
				t.Errorf("Sign = %v", err)
			}
		})
	}
	group.Wait()
	checkCalls(t, d, 1, 1, 8)
}

func TestAlgorithms(t *testing.T) {
	for _, c := range []struct {
		bits      int
		algorithm kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm
	}{
		{3072, kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_3072_SHA256},
		{4096, kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_4096_SHA256},
	} {
		v := version{testkey.RSA(c.bits, 0), kmspb.CryptoKeyVersion_ENABLED, c.algorithm}
		checkSigned(t, serve(t, &double{versions: []version{v}}, one), v.key)
	}
}

// Version 4 is the newest, and disabled.
func TestNewestEnabledVersionIsChosenOnce(t *testing.T) {
	off := usable(testkey.RSA(2048, 3))
	off.state = kmspb.CryptoKeyVersion_DISABLED
	for _, foreign := range []bool{false, true} { // both Google and our code apply the filter
		d := &double{versions: []version{usable(keys[1]), off, usable(keys[0]), off}, foreign: foreign}
		s := serve(t, d, appKey)
		checkSigned(t, s, keys[0])
		d.mu.Lock()
		d.versions = append(d.versions, usable(keys[2]))
		d.mu.Unlock()
		checkSigned(t, s, keys[0])
		if public, err := s.PublicKey(t.Context()); err != nil || !public.Equal(&keys[0].PublicKey) {
			t.Errorf("PublicKey = %v, %v, want that of the version that was chosen", public, err)
		}
		pages := 1
		if foreign {
			pages = 2
		}
		checkCalls(t, d, pages, 1, 2)
	}
}

// There are more versions than fit on a page, and the newest comes last.
func TestNewestVersionOfMany(t *testing.T) {
	d := &double{}
	for range 10 {
		d.versions = append(d.versions, usable(keys[0]))
	}
	d.versions = append(d.versions, usable(keys[2]))
	checkSigned(t, serve(t, d, appKey), keys[2])
	checkCalls(t, d, 6, 1, 1)
}

func TestVersionOfTheURLIsKept(t *testing.T) {
	d := &double{versions: []version{usable(keys[0]), usable(keys[2])}}
	checkSigned(t, serve(t, d, one), keys[0])
	checkCalls(t, d, 0, 1, 1)
}

func TestOpenReads(t *testing.T) {
	for _, c := range []struct{ name, key, version string }{
		{appKey, appKey, ""},
		{one, appKey, one},
		{"projects/acme.example:prod/locations/global/keyRings/r_1/cryptoKeys/K-2", "projects/acme.example:prod/locations/global/keyRings/r_1/cryptoKeys/K-2", ""},
	} {
		if s := open(t, c.name); s.key != c.key || s.version != c.version {
			t.Errorf("Open(%s) reads %q and %q, want %q and %q", c.name, s.key, s.version, c.key, c.version)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"gcpkms://projects/p", "this is not a key; write gcpkms://projects/PROJECT/"},
		{"gcpkms:///" + appKey, "this is not a key"},
		{"gcpkms://" + appKey + "/", "this is not a key"},
		{"gcpkms://" + strings.Replace(appKey, "acme-prod", "", 1), "this is not a key"},
		{"gcpkms://" + strings.Replace(appKey, "git", "..", 1), "this is not a key"},
		{"gcpkms://" + strings.Replace(appKey, "git", "a%2Fb", 1), "this is not a key"},
		{"gcpkms://" + strings.Replace(appKey, "git", "a.b", 1), "this is not a key"},
		{"gcpkms://" + strings.Replace(appKey, "keyRings", "keyrings", 1), "this is not a key"},
		{"gcpkms://" + strings.Replace(appKey, "git", "{workspace}", 1), "this is not a key"},
		{"gcpkms://" + strings.Replace(appKey, "git", strings.Repeat("a", maxID+1), 1), "this is not a key"},
		{"gcpkms://" + appKey + "/cryptoKeyVersions/0", "this is not a key"},
		{"gcpkms://" + appKey + "/cryptoKeyVersions/01", "this is not a key"},
		{"gcpkms://" + appKey + "/cryptoKeyVersions/latest", "this is not a key"},
		{"gcpkms://" + appKey + "/versions/1", "this is not a key"},
		{"gcpkms://" + appKey + "?endpoint=https://evil.example", "it must not have a query"},
		{"gcpkms://" + appKey + "?", "it must not have a query"},
		{"gcpkms://" + appKey + "#1", "must not have a user, password or fragment"},
		{"gcpkms://user:hunter2@" + appKey, "must not have a user, password or fragment"},
		{"gcpkms:" + appKey, "must not have a user, password or fragment"},
		{"awskms://" + appKey, "its scheme is not gcpkms"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(u)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%.120s) = %v, want an error with %q", c.url, err, c.want)
		}
	}
}

// A long-lived program uses credentials that were renewed since it started.
func TestFreshCredentialsAreFound(t *testing.T) {
	d := &double{}
	s := serve(t, d, one)
	checkSigned(t, s, keys[0])
	d.mu.Lock()
	for address := range d.accounts {
		delete(d.accounts, address)
	}
	d.mu.Unlock()
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "Google does not accept the credentials")
	const other = "other@acme-prod.iam.gserviceaccount.com"
	d.mu.Lock()
	d.accounts[other] = login(t, other)
	d.mu.Unlock()
	d.invalid = nil // the refused one
	checkSigned(t, s, keys[0])
	if d.identity != other {
		t.Errorf("Cloud KMS was asked by %s, want %s", d.identity, other)
	}
}

// An idle connection is closed, and made again.
func TestConnectionIsMadeAgain(t *testing.T) {
	d := &double{}
	w := start(t, d)
	s := open(t, one)
	s.client.options = w.options()
	checkSigned(t, s, keys[0])
	_ = w.cut(context.Background())
	checkSigned(t, s, keys[0])
}

func FuzzOpen(f *testing.F) {
	for _, s := range []string{"gcpkms://" + appKey, "gcpkms://" + one, "gcpkms://projects", "gcpkms:projects", "gcpkms://projects/%00", "gcpkms://" + appKey + "//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		s, err := Open(u)
		if err == nil && (!strings.HasPrefix(s.key, "projects/") || strings.ContainsAny(s.key+s.version, " \n%{}?#\\") || strings.Contains(s.key, "//")) {
			t.Errorf("Open(%q) reads the key %q", raw, s.key)
		}
	})
}

func FuzzParsePublic(f *testing.F) {
	f.Add("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := signer.ParsePEM(text); err == nil && key.N.BitLen() < 2048 {
			t.Errorf("signer.ParsePEM(%q) takes a key of %d bits", text, key.N.BitLen())
		}
	})
}

func FuzzNumberOf(f *testing.F) {
	for _, s := range []string{one, one + "0", appKey, one + "/", appKey + infix + "-1", appKey + infix + "9223372036854775808"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		number, ok := numberOf(name, appKey)
		if ok && (number == 0 || !strings.HasPrefix(name, appKey+infix) || strings.Contains(name[len(appKey+infix):], "/")) {
			t.Errorf("numberOf(%q) = %d", name, number)
		}
	})
}

// A thousand tokens cost one signature: Cloud KMS bills and limits each.
func TestAThousandMintsSignOnce(t *testing.T) {
	d := &double{}
	signertest.MintThousand(t, &keys[0].PublicKey, serve(t, d, appKey))
	checkCalls(t, d, 1, 1, 1)
}

package webhook

import (
	"crypto/ecdsa"
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func authorityAt(t *testing.T, made time.Time) authority {
	t.Helper()
	one, err := newAuthority(made, defaultTiming)
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// TestRotation walks through the life of two authorities. At each moment the one that
// signs has to be trusted, and was trusted for long enough before.
func TestRotation(t *testing.T) {
	const day = 24 * time.Hour
	first := authorityAt(t, start)
	second := authorityAt(t, start.Add(246*day))
	late := authorityAt(t, start.Add(365*day-time.Minute))
	for what, row := range map[string]struct {
		have          authorities
		after         time.Duration // since the first was made
		trusted       int
		signs         *authority
		needSuccessor bool
	}{
		"new":                            {authorities{first}, 0, 1, &first, false},
		"half a year old":                {authorities{first}, 180 * day, 1, &first, false},
		"close to its end":               {authorities{first}, 246 * day, 1, &first, true},
		"with a successor":               {authorities{first, second}, 246 * day, 2, &first, false},
		"the successor not settled":      {authorities{first, second}, 246*day + defaultTiming.settle - 1, 2, &first, false},
		"the successor settled":          {authorities{first, second}, 246*day + defaultTiming.settle, 2, &second, false},
		"both are trusted":               {authorities{first, second}, 246*day + defaultTiming.overlap - 1, 2, &second, false},
		"the first is trusted no more":   {authorities{first, second}, 246*day + defaultTiming.overlap, 1, &second, false},
		"a successor in the last minute": {authorities{first, late}, 365*day - time.Minute, 2, &late, false},
		"an operator off for years":      {authorities{first}, 3 * 365 * day, 0, nil, true},
	} {
		now := start.Add(row.after)
		current := row.have.current(now, defaultTiming)
		if len(current) != row.trusted || current.needSuccessor(now, defaultTiming) != row.needSuccessor {
			t.Errorf("%s: %d are trusted and a successor is needed: %v; want %d, %v", what, len(current), current.needSuccessor(now, defaultTiming), row.trusted, row.needSuccessor)
		}
		if row.signs != nil && current.signing(now, defaultTiming).certificate != row.signs.certificate {
			t.Errorf("%s: another one signs", what)
		}
	}
}

// A replica that still serves the old certificate is trusted, whatever the others do.
func TestOverlapOutlastsSettling(t *testing.T) {
	if defaultTiming.overlap < defaultTiming.settle+3*defaultTiming.checkEvery || defaultTiming.renew < 3*defaultTiming.overlap || defaultTiming.life < 2*defaultTiming.renew {
		t.Errorf("the times %+v leave no room for a slow replica", defaultTiming)
	}
}

func TestIssue(t *testing.T) {
	one, other := authorityAt(t, start), authorityAt(t, start)
	for _, host := range []string{"gatepass.system.svc", "127.0.0.1"} {
		served, err := one.issue(host, start)
		if err != nil {
			t.Fatal(err)
		}
		verify := func(by authority, name string, at time.Time) error {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(authorities{by}.bundle())
			_, err := served.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: at})
			return err
		}
		if err := verify(one, host, start); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if err := verify(one, host, start.Add(-backdated/2)); err != nil {
			t.Errorf("%s, by a clock that is behind: %v", host, err)
		}
		for what, err := range map[string]error{
			"another authority": verify(other, host, start), "another name": verify(one, "evil.example", start),
			"after its end": verify(one, host, start.Add(defaultTiming.life+time.Second)),
		} {
			if err == nil {
				t.Errorf("%s: it is good for %s", host, what)
			}
		}
		if served.Leaf.IsCA {
			t.Error("a serving certificate can sign others")
		}
	}
}

func TestParseAuthorities(t *testing.T) {
	one, other := authorityAt(t, start), authorityAt(t, start)
	all := authorities{one, other}
	keys, err := all.keys()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseAuthorities(all.bundle(), keys)
	if err != nil || len(again) != 2 || !again[1].key.Equal(other.key) || !again[0].certificate.Equal(one.certificate) {
		t.Fatalf("they are read as %v, %v", again, err)
	}
	leaf, err := one.issue("a", start)
	if err != nil {
		t.Fatal(err)
	}
	noCA := authorities{{leaf.Leaf, leaf.PrivateKey.(*ecdsa.PrivateKey)}}
	noCAKey, _ := noCA.keys()
	swapped, _ := authorities{other, one}.keys()
	oneKey, _ := authorities{one}.keys()
	for what, row := range map[string]struct{ certificates, keys []byte }{
		"nothing":                   {nil, nil},
		"no keys":                   {all.bundle(), nil},
		"a key too few":             {all.bundle(), oneKey},
		"keys in another order":     {all.bundle(), swapped},
		"certificates for keys":     {all.bundle(), all.bundle()},
		"a certificate of no power": {noCA.bundle(), noCAKey},
		"something behind":          {append(all.bundle(), "x"...), keys},
		"a text":                    {[]byte("SECRET"), []byte("SECRET")},
	} {
		got, err := parseAuthorities(row.certificates, row.keys)
		if err == nil || strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%s is read as %v, %v", what, got, err)
		}
	}
}

func FuzzParseAuthorities(f *testing.F) {
	one, err := newAuthority(start, defaultTiming)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := authorities{one}.keys()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(authorities{one}.bundle(), keys)
	f.Add([]byte{}, []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, certificates, keys []byte) {
		all, err := parseAuthorities(certificates, keys)
		if err != nil {
			return
		}
		if len(all) == 0 {
			t.Fatal("no authorities and no error")
		}
		for _, one := range all {
			if !one.certificate.IsCA || !one.key.PublicKey.Equal(one.certificate.PublicKey) {
				t.Error("it took an authority that cannot sign")
			}
		}
	})
}

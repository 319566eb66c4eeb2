package fakegithub

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAppJWT(t *testing.T) {
	w := newWorld(t, Options{})
	keyless, err := w.gh.AddApp(App{Slug: "keyless"})
	w.must(err)
	now := w.gh.Now().Unix()
	rs256 := map[string]any{"alg": "RS256", "typ": "JWT"}
	type claims = map[string]any
	for _, test := range []struct {
		name    string
		header  map[string]any
		change  claims // onto good ones; nil deletes
		status  int
		message string
	}{
		{"client ID", rs256, nil, 200, ""},
		{"App ID as a string", rs256, claims{"iss": strconv.FormatInt(w.app.ID, 10)}, 200, ""},
		{"App ID as a number", rs256, claims{"iss": w.app.ID}, 200, ""},
		{"no typ", map[string]any{"alg": "RS256"}, nil, 200, ""},
		{"a kid", map[string]any{"alg": "RS256", "kid": "../x"}, nil, 200, ""},
		{"alg none", map[string]any{"alg": "none"}, nil, 401, msgUndecodable},
		{"alg HS256", map[string]any{"alg": "HS256"}, nil, 401, msgUndecodable},
		{"alg in lower case", map[string]any{"alg": "rs256"}, nil, 401, msgUndecodable},
		{"alg PS256", map[string]any{"alg": "PS256"}, nil, 401, msgUndecodable},
		{"another typ", map[string]any{"alg": "RS256", "typ": "at+jwt"}, nil, 401, msgUndecodable},
		{"unknown issuer", rs256, claims{"iss": "Iv23liUnknown"}, 404, msgUnknownIssuer},
		{"App without keys", rs256, claims{"iss": keyless.ClientID}, 401, msgNoKey},
		{"no issuer", rs256, claims{"iss": nil}, 401, msgNoIssuer},
		{"issuer is a list", rs256, claims{"iss": []string{w.app.ClientID}}, 401, msgNoIssuer},
		{"no exp", rs256, claims{"exp": nil}, 401, msgNoExpiry},
		{"exp is a string", rs256, claims{"exp": strconv.FormatInt(now+60, 10)}, 401, msgExpired},
		{"exp is a fraction", rs256, claims{"exp": float64(now) + 60.5}, 401, msgExpired},
		{"exp in the past", rs256, claims{"exp": now - 1}, 401, msgExpired},
		{"exp just within ten minutes", rs256, claims{"exp": now + 595}, 200, ""},
		{"exp beyond ten minutes", rs256, claims{"exp": now + 700}, 401, msgTooFar},
		{"no iat", rs256, claims{"iat": nil}, 401, msgIssuedAt},
		{"iat slightly ahead", rs256, claims{"iat": now + 30}, 200, ""},
		{"iat far ahead", rs256, claims{"iat": now + 120}, 401, msgIssuedAt},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := w.claims()
			for k, v := range test.change {
				c[k] = v
				if v == nil {
					delete(c, k)
				}
			}
			got := w.rest("GET", "/app", signJWT(testKey(), test.header, c), "")
			if got.status != test.status || got.text("message") != test.message {
				t.Errorf("answer = %d %q, want %d %q", got.status, got.text("message"), test.status, test.message)
			}
		})
	}
}

func TestAppJWTGoesByTheServersClock(t *testing.T) {
	w := newWorld(t, Options{})
	early := w.jwt()
	w.gh.Advance(-15 * time.Minute)
	if got := w.rest("GET", "/app", early, "").text("message"); got != msgTooFar {
		t.Errorf("a client whose clock is ahead is told %q, want %q", got, msgTooFar)
	}
	w.gh.Advance(30 * time.Minute)
	got := w.rest("GET", "/app", early, "")
	if got.text("message") != msgExpired {
		t.Errorf("a client whose clock is behind is told %q, want %q", got.text("message"), msgExpired)
	}
	date, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", got.header.Get("Date"))
	if err != nil || w.gh.Now().Sub(date).Abs() > time.Minute {
		t.Errorf("Date = %q, want the server's clock, %s", got.header.Get("Date"), w.gh.Now())
	}
}

func TestAppKeysRotate(t *testing.T) {
	w := newWorld(t, Options{})
	rs256 := map[string]any{"alg": "RS256"}
	old, next := signJWT(testKey(), rs256, w.claims()), signJWT(otherKey(), rs256, w.claims())
	try := func(what, jwt string, want int) {
		t.Helper()
		if got := w.rest("GET", "/app", jwt, ""); got.status != want {
			t.Errorf("%s: status = %d, want %d: %s", what, got.status, want, got.raw)
		}
	}
	try("unknown key", next, 401)
	w.must(w.gh.AddKey(w.app.ID, &otherKey().PublicKey))
	try("new key", next, 200)
	try("old key beside it", old, 200)
	w.must(w.gh.RemoveKey(w.app.ID, &testKey().PublicKey))
	try("removed key", old, 401)
	try("remaining key", next, 200)
}

func TestParseJWTRefuses(t *testing.T) {
	good := signJWT(testKey(), map[string]any{"alg": "RS256"}, map[string]any{"iss": "x"})
	parts := strings.Split(good, ".")
	for name, s := range map[string]string{
		"empty":            "",
		"two parts":        parts[0] + "." + parts[1],
		"four parts":       good + ".x",
		"padding":          parts[0] + "=." + parts[1] + "." + parts[2],
		"line end":         parts[0] + "\n." + parts[1] + "." + parts[2],
		"standard base64":  parts[0] + ".e+/=." + parts[2],
		"header is a list": "W10." + parts[1] + "." + parts[2],
		"two objects":      parts[0] + ".e30ge30." + parts[2],
		"too long":         good + strings.Repeat("A", maxJWT),
	} {
		if _, err := parseJWT(s); err == nil {
			t.Errorf("%s: parseJWT accepted it, want a refusal", name)
		}
	}
}

// An accepted JWT has one spelling only, or a signature could be reused under
// another name.
func FuzzParseJWT(f *testing.F) {
	key := testKey()
	keys := []*rsa.PublicKey{&key.PublicKey}
	f.Add(signJWT(key, map[string]any{"alg": "RS256"}, map[string]any{"iss": "x", "iat": 1, "exp": 2}))
	f.Add(signJWT(key, map[string]any{"alg": "none"}, map[string]any{"iss": 5}))
	f.Add("e30.e30.e30")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		j, err := parseJWT(s)
		if err != nil {
			return
		}
		parts := strings.Split(s, ".")
		signature, err := segment(parts[2])
		if err != nil || len(parts) != 3 || j.signed != parts[0]+"."+parts[1] || string(signature) != string(j.signature) {
			t.Fatalf("parseJWT(%q) = %+v, want its own parts", s, j)
		}
		_, _ = j.claims.issuer(), j.claims.timely(time.Unix(0, 0)) // must not panic
		if changed := s[:len(s)-1] + "A"; changed != s && j.signedBy(keys) {
			if c, err := parseJWT(changed); err == nil && c.signedBy(keys) {
				t.Fatalf("%q and %q are both signed", s, changed)
			}
		}
	})
}

func TestCAPEMIsOneCertificate(t *testing.T) {
	w := newWorld(t, Options{})
	block, rest := pem.Decode(w.gh.CAPEM())
	if block == nil || len(rest) != 0 {
		t.Fatal("CAPEM is not one PEM block")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	w.must(err)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	leaf, err := x509.ParseCertificate(w.gh.ca.leaf.Certificate[0])
	w.must(err)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("certificate for %s: %v", name, err)
		}
	}
}

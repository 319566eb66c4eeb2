package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/clocktest"
)

// isUnavailable reports whether err is a refusal that says to retry.
func isUnavailable(err error) bool {
	r, ok := errors.AsType[*broker.Refusal](err)
	return ok && r.Status == http.StatusServiceUnavailable && r.RetryAfter > 0 && r.Err != nil
}

func down(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) }

// While their issuer is down, known keys are used for a day and no longer, and no check
// is skipped.
func TestOutage(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, nil)
	if _, err := identify(t.Context(), by, i.token(nil)); err != nil {
		t.Fatal(err)
	}
	i.answer(keysPath, down)
	i.answer(discoveryPath, down)
	for _, after := range []time.Duration{10 * time.Minute, time.Hour, 20 * time.Hour} {
		i.pass(after)
		if _, err := identify(t.Context(), by, i.token(nil)); err != nil {
			t.Errorf("%s into an outage: Identify = %v", after, err)
		}
		forged := signRSA(otherRSAKey(), map[string]any{"alg": "RS256", "kid": "rsa"}, i.claims(nil))
		if _, err := identify(t.Context(), by, forged); err == nil {
			t.Errorf("%s into an outage a forged token is proof", after)
		}
	}
	i.pass(5 * time.Hour)
	if _, err := identify(t.Context(), by, i.token(nil)); !isUnavailable(err) {
		t.Errorf("after a day without its issuer: Identify = %v, want a refusal with 503", err)
	}
	i.answer(keysPath, nil)
	i.answer(discoveryPath, nil)
	i.pass(tryAgain)
	if _, err := identify(t.Context(), by, i.token(nil)); err != nil {
		t.Errorf("when the issuer is back: Identify = %v", err)
	}
}

// An issuer that was never reachable is not reported as the caller's fault.
func TestNoKeysAtAll(t *testing.T) {
	for name, change := range map[string]func(*issuer){
		"keys down":      func(i *issuer) { i.answer(keysPath, down) },
		"discovery down": func(i *issuer) { i.answer(discoveryPath, down) },
		"a huge body":    func(i *issuer) { i.answer(keysPath, big) },
		"a huge discovery": func(i *issuer) {
			i.answer(discoveryPath, big)
		},
		"no JSON": func(i *issuer) {
			i.answer(keysPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
		},
		"10,000 keys": func(i *issuer) {
			i.answer(keysPath, func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"keys":[%s{}]}`, strings.Repeat("{},", 10_000))
			})
		},
		"symmetric keys": func(i *issuer) { i.publish(map[string]any{"rsa": []byte("0123456789abcdef0123456789abcdef")}) },
		"weak keys":      func(i *issuer) { i.publish(map[string]any{"rsa": &newRSA(1024).PublicKey}) },
		"private keys":   func(i *issuer) { i.publish(map[string]any{"rsa": rsaKey()}) },
		"a redirect":     func(i *issuer) { i.answer(keysPath, http.RedirectHandler("/other", http.StatusFound).ServeHTTP) },
		"a discovery elsewhere": func(i *issuer) {
			i.answer(discoveryPath, http.RedirectHandler("/other", http.StatusFound).ServeHTTP)
		},
		"another's discovery": func(i *issuer) {
			i.answer(discoveryPath, func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(w, map[string]any{"issuer": i.URL + "/other", "jwks_uri": i.URL + keysPath})
			})
		},
		"keys over http": func(i *issuer) {
			i.answer(discoveryPath, func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(w, map[string]any{"issuer": i.URL, "jwks_uri": strings.Replace(i.URL, "https", "http", 1) + keysPath})
			})
		},
		"keys in a file": func(i *issuer) {
			i.answer(discoveryPath, func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(w, map[string]any{"issuer": i.URL, "jwks_uri": "file:///etc/passwd"})
			})
		},
	} {
		i := newIssuer(t)
		i.answer("/other", func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, setOf(map[string]any{"rsa": &rsaKey().PublicKey}))
		})
		change(i)
		_, err := identify(t.Context(), i.identifier(t, nil), i.token(nil))
		if !isUnavailable(err) || i.times("/other") != 0 {
			t.Errorf("%s: Identify = %v, want a refusal with 503 and no step elsewhere", name, err)
		}
		if r, _ := errors.AsType[*broker.Refusal](err); r != nil && len(r.Err.Error()) > 2*maxText {
			t.Errorf("%s: the log is given %d bytes", name, len(r.Err.Error()))
		}
	}
}

// While an issuer does not answer, a limited number of tokens with unknown keys wait
// for it.
func TestFewWaitForAnIssuer(t *testing.T) {
	i := newIssuer(t)
	end := make(chan struct{})
	i.answer(discoveryPath, func(http.ResponseWriter, *http.Request) { <-end })
	defer close(end)
	by := i.identifier(t, nil)
	done := make(chan error, 2*maxWaiting)
	for range cap(done) {
		go func() {
			_, err := identify(t.Context(), by, i.token(nil))
			done <- err
		}()
	}
	for range maxWaiting {
		select {
		case err := <-done:
			if !isUnavailable(err) || !errors.Is(err, errTooManyWaiting) {
				t.Fatalf("one of too many: %v, want a refusal with 503", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("all of them wait")
		}
	}
}

func TestStrangersCertificate(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, func(s *Settings) { s.CAFile = "" })
	if _, err := identify(t.Context(), by, i.token(nil)); !isUnavailable(err) {
		t.Errorf("Identify = %v, want a refusal with 503", err)
	}
}

// A new key is found by its id at once. Unknown ids cause one fetch in ten seconds,
// however many there are.
func TestRotation(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, nil)
	if _, err := identify(t.Context(), by, i.token(nil)); err != nil {
		t.Fatal(err)
	}
	i.pass(tryAgain)
	i.publish(map[string]any{"new": &otherRSAKey().PublicKey})
	token := func() string {
		return signRSA(otherRSAKey(), map[string]any{"alg": "RS256", "kid": "new"}, i.claims(nil))
	}
	if _, err := identify(t.Context(), by, token()); err != nil {
		t.Errorf("a token of the new key: Identify = %v", err)
	}
	if _, err := identify(t.Context(), by, i.token(nil)); !errors.Is(err, errUnknownKey) {
		t.Errorf("a token of the old key: Identify = %v, want errUnknownKey", err)
	}
	before := i.times(keysPath)
	for n := range 50 {
		unknown := signRSA(otherRSAKey(), map[string]any{"alg": "RS256", "kid": fmt.Sprint(n)}, i.claims(nil))
		if _, err := identify(t.Context(), by, unknown); !errors.Is(err, errUnknownKey) {
			t.Errorf("kid %d: Identify = %v, want errUnknownKey", n, err)
		}
	}
	if n := i.times(keysPath) - before; n != 0 {
		t.Errorf("unknown ids made us fetch the keys %d times within ten seconds, want 0", n)
	}
	if _, err := identify(t.Context(), by, token()); err != nil {
		t.Errorf("a token of the new key afterwards: Identify = %v", err)
	}
}

// A key that its issuer withdrew is refused after a quarter of an hour, even if no
// token named another key.
func TestKeysAreTakenBack(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, nil)
	if _, err := identify(t.Context(), by, i.token(nil)); err != nil {
		t.Fatal(err)
	}
	i.publish(map[string]any{"ec": &ecKey().PublicKey})
	i.pass(freshFor + time.Second)
	if _, err := identify(t.Context(), by, i.token(nil)); !errors.Is(err, errUnknownKey) {
		t.Errorf("Identify = %v, want errUnknownKey", err)
	}
}

// A slow issuer delays only tokens that need its answer.
func TestSlowIssuer(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, nil)
	if _, err := identify(t.Context(), by, i.token(nil)); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	i.answer(discoveryPath, func(http.ResponseWriter, *http.Request) { <-release })
	i.pass(refreshAfter + time.Second)
	took := func() time.Duration {
		begun := time.Now()
		if _, err := identify(t.Context(), by, i.token(nil)); err != nil {
			t.Errorf("Identify = %v", err)
		}
		return time.Since(begun)
	}
	// This machine may be slow, too, but not each time.
	if best := min(took(), took(), took()); best > staleWait/2 {
		t.Errorf("with keys that are known: Identify took %s", best)
	}
	i.pass(freshFor)
	if took := took(); took > loadWait {
		t.Errorf("with keys that grow old: Identify took %s", took)
	}
}

// A file instead of the issuer is read again, and the issuer is never asked.
func TestKeysFromAFile(t *testing.T) {
	i := newIssuer(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	write := func(keys map[string]any) {
		if err := os.WriteFile(path, marshal(setOf(keys)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]any{"rsa": &rsaKey().PublicKey})
	by := i.identifier(t, func(s *Settings) { s.JWKSFile, s.CAFile = path, "" })
	if _, err := identify(t.Context(), by, i.token(nil)); err != nil || i.times(discoveryPath) != 0 {
		t.Errorf("Identify = %v; the issuer was asked %d times", err, i.times(discoveryPath))
	}
	write(map[string]any{"ec": &ecKey().PublicKey})
	i.pass(tryAgain)
	if _, err := identify(t.Context(), by, signEC(ecKey(), map[string]any{"alg": "ES256", "kid": "ec"}, i.claims(nil))); err != nil {
		t.Errorf("after the file changed: Identify = %v", err)
	}
}

func TestKeysAreForAlgorithms(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key  any
		alg  string
		want bool
	}{
		{&rsaKey().PublicKey, "RS256", true},
		{&rsaKey().PublicKey, "PS512", true},
		{&rsaKey().PublicKey, "ES256", false},
		{&ecKey().PublicKey, "ES256", true},
		{&ecKey().PublicKey, "ES384", false},
		{&ecKey().PublicKey, "RS256", false},
		{&p384.PublicKey, "ES384", true},
		{&p384.PublicKey, "ES256", false},
		{[]byte("secret"), "RS256", false},
	} {
		if got := isFor(c.key, c.alg); got != c.want {
			t.Errorf("isFor(%T, %s) = %v, want %v", c.key, c.alg, got, c.want)
		}
	}
}

// A verified token is not verified again for half a minute; everything but the
// signature is still checked.
func TestASignatureIsBelievedForAMoment(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, func(s *Settings) { s.ClockSkew = time.Second })
	token := i.token(map[string]any{"exp": i.now().Add(20 * time.Second).Unix()})
	if _, err := identify(t.Context(), by, token); err != nil {
		t.Fatal(err)
	}
	if !by.verified.has(token, i.now()) || by.verified.has(token+"x", i.now()) {
		t.Error("another token than the one that held is believed, or that one is not")
	}
	parts := strings.Split(token, ".")
	for name, forged := range map[string]string{
		"another payload":  parts[0] + "." + segment(marshal(i.claims(map[string]any{"sub": "root"}))) + "." + parts[2],
		"another header":   segment([]byte(`{"alg":"RS256","kid":"rsa","x":1}`)) + "." + parts[1] + "." + parts[2],
		"no signature":     parts[0] + "." + parts[1] + ".",
		"half a signature": token[:len(token)-20],
	} {
		if _, err := identify(t.Context(), by, forged); err == nil {
			t.Errorf("%s after the true one is proof", name)
		}
	}
	i.pass(22 * time.Second)
	if _, err := identify(t.Context(), by, token); err == nil {
		t.Error("a token that has ended is proof because its signature held")
	}
	i.pass(verifiedFor)
	if by.verified.has(token, i.now()) {
		t.Error("a signature is believed for longer than its time")
	}
}

func TestHeldIsBounded(t *testing.T) {
	var h verifiedCache
	now := time.Now()
	for k := range maxVerified + 100 {
		h.add(strings.Repeat("x", k%7)+time.Duration(k).String(), now)
	}
	if len(h.until) > maxVerified {
		t.Errorf("%d tokens are remembered, want at most %d", len(h.until), maxVerified)
	}
	h.add("later", now.Add(verifiedFor))
	if len(h.until) != 1 {
		t.Errorf("%d tokens are remembered after their time, want the new one", len(h.until))
	}
}

// A key that the issuer withdrew while the broker was suspended is not accepted
// afterwards: neither the keys nor tokens verified with them count as fresh.
func TestKeysAfterSleep(t *testing.T) {
	i := newIssuer(t)
	now := time.Now()
	i.clock = now
	by := i.identifier(t, nil)
	by.now, by.keys.now = func() time.Time { return now }, func() time.Time { return now }
	token := i.token(map[string]any{"exp": now.Add(3 * time.Hour).Unix()})
	if _, err := identify(t.Context(), by, token); err != nil {
		t.Fatal(err)
	}
	i.publish(map[string]any{"new": &otherRSAKey().PublicKey})
	now = clocktest.Slept(now.Add(tryAgain), 2*time.Hour)
	if _, err := identify(t.Context(), by, token); !errors.Is(err, errUnknownKey) {
		t.Errorf("Identify = %v after two hours of sleep, want errUnknownKey", err)
	}
}

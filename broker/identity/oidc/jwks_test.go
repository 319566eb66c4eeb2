package oidc

import (
	"crypto/rsa"
	"errors"
	"fmt"
	bignum "math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatepass/gatepass/broker"
)

func TestHowManyKeysThereMayBe(t *testing.T) {
	for n, want := range map[int]bool{1: true, maxKeys: true, maxKeys + 1: false, 0: false} {
		set := jose.JSONWebKeySet{}
		for i := range n {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: &ecKey().PublicKey, KeyID: fmt.Sprint(i)})
		}
		if known, err := parseKeys(marshal(set)); (err == nil) != want || want && len(known.keys) != n {
			t.Errorf("parseKeys of %d = %d, %v, want them: %v", n, len(known.keys), err, want)
		}
	}
}

// Keys that are not for signatures are skipped, and the others are used.
func TestWhatKeysAreFor(t *testing.T) {
	for use, want := range map[string]int{"sig": 1, "": 1, "enc": 0, "x": 0} {
		set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &ecKey().PublicKey, Use: use}}}
		if known, _ := parseKeys(marshal(set)); len(known.keys) != want {
			t.Errorf("a key for %q: parseKeys keeps %d, want %d", use, len(known.keys), want)
		}
	}
}

func TestHowStrongAKeyIs(t *testing.T) {
	for _, c := range []struct {
		bits uint
		e    int
		want bool
	}{
		{minRSABits, 65537, true},
		{minRSABits - 1, 65537, false},
		{maxRSABits, 3, true},
		{maxRSABits + 1, 65537, false},
		{minRSABits, 1, false},
		{minRSABits, 2, false},
	} {
		n := new(bignum.Int).Lsh(bignum.NewInt(1), c.bits-1)
		if got := isStrong(&rsa.PublicKey{N: n, E: c.e}); got != c.want {
			t.Errorf("isStrong(%d bits, exponent %d) = %v, want %v", c.bits, c.e, got, c.want)
		}
	}
}

// A key of a set that cannot be used does not affect the others. A token signed with it
// is refused, with the reason only in the broker's log (rancher/rancher#49880: a
// certificate that Go cannot parse, and that is not needed).
func TestASetWithKeysThatCannotBeUsed(t *testing.T) {
	i := newIssuer(t)
	good := string(marshal(jose.JSONWebKey{Key: &rsaKey().PublicKey, KeyID: "rsa"}))
	with := func(old, more string) string { return strings.Replace(good, old, more, 1) }
	weak := string(marshal(jose.JSONWebKey{Key: &newRSA(1024).PublicKey, KeyID: "weak"}))
	i.answer(keysPath, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[7,null,{"kid":7},%s]}`, strings.Join([]string{
			weak, `{"kty":"oct","k":"AAAA","kid":"oct"}`, `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA","kid":"curve"}`, `{"kty":"none","kid":"kind"}`,
			with(`"kid":"rsa"`, `"kid":"enc","use":"enc"`), with(`"kid":"rsa"`, `"kid":"alg","alg":"RS512"`),
			with(`"kid":"rsa"`, `"kid":"x5c","x5c":["MIIBAA=="],"x5t":"AAAA","x5t#S256":"!"`), good,
		}, ","))
	})
	by := i.identifier(t, nil)
	for kid, want := range map[string]string{
		"rsa": "", "x5c": "",
		"weak": "2048 to 8192 bits", "oct": "not a public key", "curve": "unsupported key type", "kind": "unsupported key type", "enc": `its use is "enc"`, "alg": "not for the token's algorithm RS256",
	} {
		_, err := identify(t.Context(), by, signRSA(rsaKey(), map[string]any{"alg": "RS256", "kid": kid}, i.claims(nil)))
		if want == "" {
			if err != nil {
				t.Errorf("%s: Identify = %v", kid, err)
			}
			continue
		}
		r, ok := errors.AsType[*broker.Refusal](err)
		if !ok || r.Status != http.StatusUnauthorized || !strings.Contains(r.Err.Error(), want) || !strings.Contains(r.Err.Error(), `key "`+kid+`"`) || strings.Contains(r.Detail, want) {
			t.Errorf("%s: Identify = %v, want 401 and %q for the log", kid, err, want)
		}
	}
}

// If no key of a set can be used, the error says what is wrong with each.
func TestASetWithoutAKeyThatCanBeUsed(t *testing.T) {
	_, err := parseKeys([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"one"},{"kty":"RSA","kid":"two"}]}`))
	if err == nil || !strings.Contains(err.Error(), `key "one" cannot be used`) || !strings.Contains(err.Error(), `key "two"`) {
		t.Errorf("parseKeys = %v, want both keys by name", err)
	}
}

// A token without kid uses the one key that fits its algorithm. If several fit, none is
// tried: the signer must say which one.
func TestATokenWithoutKeyID(t *testing.T) {
	for _, c := range []struct {
		name string
		keys map[string]any
		want error
	}{
		{"the one RSA key", map[string]any{"a": &rsaKey().PublicKey}, nil},
		{"beside one of another kind", map[string]any{"a": &rsaKey().PublicKey, "b": &ecKey().PublicKey}, nil},
		{"one that has no id itself", map[string]any{"": &rsaKey().PublicKey}, nil},
		{"two RSA keys", map[string]any{"a": &rsaKey().PublicKey, "b": &otherRSAKey().PublicKey}, errNoKeyID},
		{"no RSA key", map[string]any{"b": &ecKey().PublicKey}, errUnknownKey},
	} {
		i := newIssuer(t)
		i.publish(c.keys)
		by := i.identifier(t, nil)
		for _, header := range []map[string]any{{"alg": "RS256"}, {"alg": "RS256", "kid": ""}} {
			if _, err := identify(t.Context(), by, signRSA(rsaKey(), header, i.claims(nil))); !errors.Is(err, c.want) {
				t.Errorf("%s: Identify = %v, want %v", c.name, err, c.want)
			}
		}
		forged := signRSA(otherRSAKey(), map[string]any{"alg": "RS256"}, i.claims(map[string]any{"sub": "forged"}))
		if _, err := identify(t.Context(), by, forged); err == nil {
			t.Errorf("%s: a forged token is proof", c.name)
		}
	}
}

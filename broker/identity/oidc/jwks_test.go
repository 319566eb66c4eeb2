package oidc

import (
	"crypto/rsa"
	"fmt"
	bignum "math/big"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestHowManyKeysThereMayBe(t *testing.T) {
	for n, want := range map[int]bool{1: true, maxKeys: true, maxKeys + 1: false, 0: false} {
		set := jose.JSONWebKeySet{}
		for i := range n {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: &ecKey().PublicKey, KeyID: fmt.Sprint(i)})
		}
		if keys, err := parseKeys(marshal(set)); (err == nil) != want || want && len(keys) != n {
			t.Errorf("parseKeys of %d = %d, %v, want them: %v", n, len(keys), err, want)
		}
	}
}

// Keys that are not for signatures are passed over, and those that can be are kept.
func TestWhatKeysAreFor(t *testing.T) {
	for use, want := range map[string]int{"sig": 1, "": 1, "enc": 0, "x": 0} {
		set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &ecKey().PublicKey, Use: use}}}
		if keys, _ := parseKeys(marshal(set)); len(keys) != want {
			t.Errorf("a key for %q: parseKeys keeps %d, want %d", use, len(keys), want)
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

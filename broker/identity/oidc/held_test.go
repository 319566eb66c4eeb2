package oidc

import (
	"strings"
	"testing"
	"time"
)

// A signature that held is believed for half a minute, to the letter of the
// token, and nothing but the signature.
func TestASignatureIsBelievedForAMoment(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, func(s *Settings) { s.ClockSkew = time.Second })
	token := i.token(map[string]any{"exp": i.now().Add(20 * time.Second).Unix()})
	if _, err := identify(t.Context(), by, token); err != nil {
		t.Fatal(err)
	}
	if !by.held.has(token, i.now()) || by.held.has(token+"x", i.now()) {
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
	i.pass(heldTime)
	if by.held.has(token, i.now()) {
		t.Error("a signature is believed for longer than its time")
	}
}

func TestHeldIsBounded(t *testing.T) {
	var h verifiedCache
	now := time.Now()
	for k := range maxHeld + 100 {
		h.add(strings.Repeat("x", k%7)+time.Duration(k).String(), now)
	}
	if len(h.until) > maxHeld {
		t.Errorf("%d tokens are remembered, want at most %d", len(h.until), maxHeld)
	}
	h.add("later", now.Add(heldTime))
	if len(h.until) != 1 {
		t.Errorf("%d tokens are remembered after their time, want the new one", len(h.until))
	}
}

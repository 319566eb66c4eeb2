package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
)

const token = "operator-0123456789abcdef0123"

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func TestOnlyTheTokenOfTheHash(t *testing.T) {
	i, err := ParseBearer(hashOf(token))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		header []string
		want   bool
	}{
		{"the token", []string{"Bearer " + token}, true},
		{"nothing", nil, false},
		{"its hash", []string{"Bearer " + hashOf(token)}, false},
		{"its beginning", []string{"Bearer " + token[:len(token)-1]}, false},
		{"more than it", []string{"Bearer " + token + "x"}, false},
		{"the token as a password", []string{"Basic " + token}, false},
		{"the token twice", []string{"Bearer " + token, "Bearer " + token}, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = c.header
		got, err := i.Identify(t.Context(), r)
		if c.want && (err != nil || got.Method != "token" || strings.Contains(got.Subject, token)) {
			t.Errorf("%s: Identify = %+v, %v, want the operator", c.name, got, err)
		}
		if !c.want && !errors.Is(err, broker.ErrNoProof) {
			t.Errorf("%s: Identify = %+v, %v, want ErrNoProof", c.name, got, err)
		}
	}
}

// The token behind a configured hash could be guessed if it was short.
func TestAShortTokenIsRefused(t *testing.T) {
	for token, want := range map[string]error{"hunter2": broker.ErrNoProof, token[:minToken-1]: broker.ErrNoProof, token[:minToken]: nil} {
		i, err := ParseBearer(hashOf(token))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		c, err := i.Identify(t.Context(), r)
		if !errors.Is(err, want) || err == nil && c.Subject != "token sha256:"+hashOf(token)[:8] {
			t.Errorf("Identify(%d letters) = %q, %v, want %v", len(token), c.Subject, err, want)
		}
	}
}

func TestTheZeroIdentifierRefuses(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	if _, err := (BearerIdentifier{}).Identify(t.Context(), r); !errors.Is(err, broker.ErrNoProof) {
		t.Errorf("Identify = %v, want ErrNoProof", err)
	}
	for _, text := range []string{"", "x", hashOf(token)[1:], hashOf(token) + "00", strings.Repeat("0", 64)} {
		if i, err := ParseBearer(text); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", text, i)
		}
	}
}

package oidc

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
)

// Parsing ends for every input, and a parsed token has one spelling: put together
// again, it is the same.
func FuzzParse(f *testing.F) {
	for _, token := range []string{
		"", "eyJ", "eyJ.eyJ.eyJ", "ey" + strings.Repeat(".", 100), "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.AA",
		"eyJhbGciOiJSUzI1NiIsImFsZyI6Im5vbmUifQ.e30.AA", "gho_abc",
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parse(token)
		if err != nil {
			return
		}
		if len(token) > maxToken || errors.Is(err, broker.ErrNoProof) {
			t.Errorf("parse(%q) took what is no token", token)
		}
		parts := strings.Split(token, ".")
		if len(parts) != segments || segment(c.payload) != parts[1] {
			t.Errorf("parse(%q) has the payload %q", token, c.payload)
		}
		_ = c.checkHeader(allAlgorithms)
		_, _ = Settings{Audience: audience, SingleUse: true}.checkClaims(c.claims, start)
	})
}

// Everything that this reader accepts, encoding/json accepts and reads in the same way.
func FuzzDecodeObject(f *testing.F) {
	for _, text := range []string{`{}`, `{"a":1,"a":2}`, `{"a":{"b":[1,"c",true,null]}}`, `{"a":"\ud800"}`, `{} {}`, `[]`, `{"a":`, `{"a" "b"}`, `{"a":[}`, "{\"a\":\"\xff\"}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeObject(data)
		if err != nil {
			return
		}
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.UseNumber()
		var want map[string]any
		if err := dec.Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("decodeObject(%q) = %v, encoding/json has %v, %v", data, got, want, err)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add(marshal(setOf(map[string]any{"rsa": &rsaKey().PublicKey, "ec": &ecKey().PublicKey})))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		known, err := parseKeys(data)
		if err == nil && len(known.keys) == 0 {
			t.Errorf("parseKeys(%q) has no keys and no error", data)
		}
		for _, k := range known.keys {
			if !k.IsPublic() {
				t.Errorf("parseKeys(%q) has a key that is not public", data)
			}
			for _, alg := range allAlgorithms {
				_, _ = known.suiting(k.KeyID, alg)
			}
		}
	})
}

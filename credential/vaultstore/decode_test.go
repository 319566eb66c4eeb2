package vaultstore

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/vaultclient"
)

// An answer of a server becomes a token with an expiry, or an error that does not
// repeat the answer.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"token":"ghs_x"}`,
		`{"data":{"token":"ghs_x"},"metadata":{"created_time":"2026-01-02T03:04:05Z"}}`,
		`{"data":null,"metadata":{}}`,
		`{"token":"ghs_x","expires_at":1767323045}`,
		`{"token":"{\"token\":\"ghs_x\",\"expires_at\":\"2026-01-02T03:04:05Z\"}"}`,
		`{"token":1,"expires_at":""}`,
	} {
		f.Add(s, "token", true, true, int64(60))
		f.Add(s, "token", false, false, int64(0))
	}
	asked := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text, field string, kv2, leased bool, lifetime int64) {
		var data map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &data) != nil {
			return
		}
		v := plain
		if kv2 {
			v = versioned
		}
		answer := &vaultclient.Answer{Data: data, Leased: leased, Lifetime: time.Duration(max(lifetime, 0))}
		token, err := decode(answer, v, field, asked)
		if err != nil {
			if strings.Contains(err.Error(), "ghs_x") && !strings.Contains(field, "ghs_x") {
				t.Errorf("decode(%q) = %v, which repeats the token", text, err)
			}
			return
		}
		if credential.CheckSecret(token.Secret()) != nil || token.Expiry.IsZero() {
			t.Errorf("decode(%q) = %q until %v, want a token with an end", text, token.Secret(), token.Expiry)
		}
		if leased && !kv2 && token.Expiry.After(asked.Add(answer.Lifetime)) {
			t.Errorf("decode(%q) ends at %v, after its lease of %v", text, token.Expiry, answer.Lifetime)
		}
	})
}

func FuzzDecodeMount(f *testing.F) {
	f.Add(`{"path":"secret/","type":"kv","options":{"version":"2"}}`, "secret/x")
	f.Add(`{"path":"/","type":"kv","options":null}`, "secret/x")
	f.Add(`{"path":"team/kv/","options":{"version":2}}`, "team/kv/x")
	f.Fuzz(func(t *testing.T, text, full string) {
		var data map[string]json.RawMessage
		first, _, ok := strings.Cut(full, "/")
		if !ok || json.Unmarshal([]byte(text), &data) != nil {
			return
		}
		m := decodeMount(data, first, full)
		if !strings.HasPrefix(full, m.path) || !strings.HasPrefix(m.apiPath(full), m.path) || m.version == unknown {
			t.Errorf("decodeMount(%q) = %+v, want a mount that holds %q", text, m, full)
		}
	})
}

// The times in a secret are by Vault's clock and GitHub's; a lease counts from the
// request. On a machine whose clock is wrong all of them are converted to its own.
func TestDecodeByTheMachinesClock(t *testing.T) {
	asked := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for _, ahead := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour} {
		theirs := asked.Add(-ahead)
		at := func(d time.Duration) string { return theirs.Add(d).Format(time.RFC3339) }
		for _, c := range []struct {
			name, text string
			version    version
			isLeased   bool
			want       time.Duration // after asked
		}{
			{"a version", `{"data":{"token":"ghs_x"},"metadata":{"created_time":"` + at(-20*time.Minute) + `"}}`, versioned, false, 40 * time.Minute},
			{"a stated end", `{"token":"ghs_x","expires_at":"` + at(30*time.Minute) + `"}`, plain, false, 30 * time.Minute},
			{"an end in the text", `{"token":"{\"token\":\"ghs_x\",\"expires_at\":\"` + at(30*time.Minute) + `\"}"}`, plain, false, 30 * time.Minute},
			{"a lease", `{"token":"ghs_x"}`, plain, true, 10 * time.Minute},
			{"a lease that ends before", `{"token":"ghs_x","expires_at":"` + at(30*time.Minute) + `"}`, plain, true, 10 * time.Minute},
		} {
			var data map[string]json.RawMessage
			if err := json.Unmarshal([]byte(c.text), &data); err != nil {
				t.Fatal(c.name, err)
			}
			answer := &vaultclient.Answer{Data: data, Leased: c.isLeased, Lifetime: 10 * time.Minute, Ahead: ahead}
			token, err := decode(answer, c.version, "token", asked)
			if err != nil || !token.Expiry.Equal(asked.Add(c.want)) {
				t.Errorf("%v ahead, %s: it ends at %v, %v, want %v", ahead, c.name, token.Expiry, err, asked.Add(c.want))
			}
		}
	}
}

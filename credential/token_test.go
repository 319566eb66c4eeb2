package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

const hiddenText = "ghs_ThisMustNeverBeShown0123456789abcdef"

// holder has a token in a field whose methods fmt cannot call.
type holder struct {
	inner struct{ token Token }
	Ptr   *Token
}

func TestATokenNeverPrintsItself(t *testing.T) {
	tok := NewToken(hiddenText, time.Now().Add(time.Hour))
	h := holder{Ptr: &tok}
	h.inner.token = tok
	values := map[string]any{
		"token": tok, "pointer": &tok, "nested": h, "slice": []Token{tok},
		"map": map[string]Token{"a": tok}, "any": any(tok), "wrapped": fmt.Errorf("x %v", tok),
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "%p"} {
			check(t, name+" "+verb, fmt.Sprintf(verb, v))
		}
		b, _ := json.Marshal(v)
		check(t, name+" json", string(b))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		check(t, name+" slog", log.String())
	}
}

func check(t *testing.T, how, printed string) {
	t.Helper()
	hex := fmt.Sprintf("%x", hiddenText)
	if strings.Contains(printed, hiddenText[4:]) || strings.Contains(strings.ToLower(printed), hex[8:]) {
		t.Errorf("%s shows the token", how)
	}
}

func TestTokenShowsItsFingerprint(t *testing.T) {
	tok := NewToken("abc", time.Time{})
	const want = "sha256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
	for how, got := range map[string]string{"%v": fmt.Sprint(tok), "%q": strings.Trim(fmt.Sprintf("%q", tok), `"`)} {
		if got != want {
			t.Errorf("%s = %s, want %s", how, got, want)
		}
	}
	if got, want := fmt.Sprintf("%#v", tok), "credential.Token("+want+")"; got != want {
		t.Errorf("%%#v = %s, want %s", got, want)
	}
	for _, none := range []Token{{}, NewToken("", time.Now())} {
		if got := fmt.Sprint(none); got != "none" || !none.IsZero() || none.Secret() != "" {
			t.Errorf("Sprint(%#v) = %s, want none", none, got)
		}
	}
}

func TestParseToken(t *testing.T) {
	stored := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, text, token string
		expiry            time.Time
	}{
		{"a bare token", "ghs_x", "ghs_x", stored.Add(time.Hour)},
		{"one newline", "ghs_x\n", "ghs_x", stored.Add(time.Hour)},
		{"JSON", `{"token":"ghs_x","expires_at":"2026-01-02T03:30:00Z"}`, "ghs_x", stored.Add(30 * time.Minute)},
		{"JSON without expiry", `{"token":"ghs_x"}`, "ghs_x", stored.Add(time.Hour)},
		{"JSON with more keys", `{"token":"ghs_x","permissions":{"contents":"read"}}` + "\n", "ghs_x", stored.Add(time.Hour)},
		{"every letter that can be", "!~", "!~", stored.Add(time.Hour)},
		{"as long as a token can be", strings.Repeat("x", MaxToken), strings.Repeat("x", MaxToken), stored.Add(time.Hour)},
	} {
		tok, err := ParseToken([]byte(c.text), stored)
		if err != nil || tok.Secret() != c.token || !tok.Expiry.Equal(c.expiry) {
			t.Errorf("%s: ParseToken = %q until %v, %v, want %q until %v", c.name, tok.Secret(), tok.Expiry, err, c.token, c.expiry)
		}
	}
}

func TestParseTokenRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "a newline": "\n", "two newlines": "ghs_x\n\n", "null": "null", "None of a shell": "None\n",
		"control characters": "ghs_\x1bx", "a carriage return": "ghs_x\r\n", "an error page": "<!DOCTYPE html>",
		"an error page without blanks": "<html></html>", "a sentence": "not found", "too long": strings.Repeat("x", 8193),
		"JSON null": `{"token":null}`, "JSON without a token": `{}`, "cut JSON": `{"token":"ghs_x"`,
		"two JSON values": `{"token":"ghs_x"}{"token":"y"}`, "a bad time": `{"token":"ghs_x","expires_at":"soon"}`,
		"nil of a program": "nil", "undefined of a script": "undefined", "a blank before it": " ghs_x", "DEL": "ghs_x\x7f",
		"a short token in a long JSON": `{"token":"ghs_x","more":"` + strings.Repeat("x", MaxStored) + `"}`,
		"letters outside ASCII":        "ghs_ü", "a JSON string": `"ghs_x"`, "a JSON list": "[]",
		"a very long JSON": `{"token":"` + strings.Repeat("x", 9000) + `"}`,
	} {
		tok, err := ParseToken([]byte(text), time.Now())
		if err == nil {
			t.Errorf("%s: ParseToken = %q, want an error", name, tok.Secret())
		} else if strings.Contains(err.Error(), "ghs_") {
			t.Errorf("%s: the error repeats the token: %v", name, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	for _, s := range []string{"ghs_x\n", `{"token":"a"}`, "null", "<p>", "{", `{"token":"a","expires_at":"2026-01-02T03:30:00Z"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := ParseToken(data, time.Unix(0, 0))
		if err == nil && (CheckSecret(tok.Secret()) != nil || tok.Expiry.IsZero()) {
			t.Errorf("ParseToken(%q) let through what is no token", data)
		}
	})
}

// BenchmarkWarmToken measures what the cache adds to every answer of the agent.
func BenchmarkWarmToken(b *testing.B) {
	c := &Cache{Source: &issuer{}}
	if _, err := c.Token(b.Context(), widgets); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Token(b.Context(), widgets); err != nil {
			b.Fatal(err)
		}
	}
}

package oskeyring

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
)

func TestAnEntryKeepsTheWholeToken(t *testing.T) {
	tok := credential.NewToken("ghs_one", time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	tok.Username = "app"
	tok.Repositories = []string{"acme/widgets"}
	tok.Permissions = map[string]string{"contents": "write"}
	data, err := format(tok)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(data)
	if err != nil || !reflect.DeepEqual(got, tok) {
		t.Errorf("parse(format(t)) = %+v, %v, want %+v", got, err, tok)
	}
	same, err := credential.ParseToken(data, time.Now())
	if err != nil || same.Secret() != "ghs_one" || !same.Expiry.Equal(tok.Expiry) {
		t.Errorf("ParseToken(format(t)) = %v, %v, want the same token", same, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":               ``,
		"a bare token":          `ghs_one`,
		"no expiry":             `{"token":"ghs_one"}`,
		"an expiry in words":    `{"token":"ghs_one","expires_at":"soon"}`,
		"no token":              `{"expires_at":"2026-05-01T12:00:00Z"}`,
		"a token with line end": `{"token":"ghs_one\nx","expires_at":"2026-05-01T12:00:00Z"}`,
		"more after it":         `{"token":"ghs_one","expires_at":"2026-05-01T12:00:00Z"}{}`,
	} {
		t.Run(name, func(t *testing.T) {
			tok, err := parse([]byte(text))
			if err == nil || !tok.IsZero() || strings.Contains(err.Error(), "ghs_one") {
				t.Errorf("parse(%s) = %v, %v, want an error without the token", text, tok, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"token":"ghs_one","expires_at":"2026-05-01T12:00:00Z","permissions":{"contents":"write"}}`))
	f.Add([]byte(`{"token":"","expires_at":null}`))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := parse(data)
		if err != nil {
			return
		}
		if tok.Expiry.IsZero() || credential.CheckSecret(tok.Secret()) != nil {
			t.Errorf("parse(%q) = %v until %v, want a token with an end", data, tok, tok.Expiry)
		}
		if _, err := format(tok); err != nil {
			t.Errorf("format of what parse took = %v", err)
		}
	})
}

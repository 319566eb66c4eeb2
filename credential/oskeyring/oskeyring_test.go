package oskeyring

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
)

func open(t *testing.T, raw string) (*Source, error) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return Open(u, "sb-1")
}

func TestOpen(t *testing.T) {
	for _, c := range []struct{ url, service, account string }{
		{"keyring://gatepass/token", "gatepass", "token"},
		{"keyring://my.app/{workspace}/{owner}", "my.app", "sb-1/acme"},
		{"keyring://gatepass/{host}%20key", "gatepass", "github.com key"},
	} {
		s, err := open(t, c.url)
		if err != nil {
			t.Errorf("Open(%s) = %v", c.url, err)
			continue
		}
		if account, err := s.account.Expand(widgets); s.service != c.service || account != c.account || err != nil {
			t.Errorf("Open(%s) = %q, %q, %v, want %q, %q", c.url, s.service, account, err, c.service, c.account)
		}
	}
	for _, c := range []struct{ url, says string }{
		{"keyring:///account", "a service and an account"},
		{"keyring://service", "a service and an account"},
		{"keyring://service/", "a service and an account"},
		{"keyring:service/account", "a service and an account"},
		{"keyring://service/account?collection=login", "must not have a query such as collection"},
		{"keyring://service/account?", "must not have a query"},
		{"keyring://service/account#x", "must not have a query"},
		{"keyring://service/{nobody}", "unknown placeholder {nobody}"},
		{"file:///x", "scheme"},
	} {
		if _, err := open(t, c.url); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Open(%s) = %v, want an error with %q", c.url, err, c.says)
		}
	}
}

// stored returns a source whose keyring has held value since written.
func stored(t *testing.T, value string, written time.Time) (*Source, *memory) {
	t.Helper()
	s, err := open(t, "keyring://gatepass/{owner}")
	if err != nil {
		t.Fatal(err)
	}
	r := &memory{written: written, entries: map[item][]byte{{"gatepass", "acme"}: []byte(value)}}
	s.ring = r
	return s, r
}

func TestSourceReadsTheEntry(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name, value string
		written     time.Time
		expiry      time.Time
	}{
		{"a bare token", "ghs_one\n", now.Add(-10 * time.Minute), now.Add(50 * time.Minute)},
		{"a bare token of unknown age", "ghs_one", time.Time{}, now.Add(time.Hour)},
		{"JSON", `{"token":"ghs_one","expires_at":"2222-01-02T03:04:05Z"}`, now.Add(-time.Hour * 99), time.Date(2222, 1, 2, 3, 4, 5, 0, time.UTC)},
	} {
		s, _ := stored(t, c.value, c.written)
		tok, err := s.Token(t.Context(), widgets)
		if off := tok.Expiry.Sub(c.expiry); err != nil || tok.Secret() != "ghs_one" || off.Abs() > time.Minute {
			t.Errorf("%s: Token = %v until %v, %v, want ghs_one until %v", c.name, tok, tok.Expiry, err, c.expiry)
		}
	}
}

func TestSourceSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name, value string
		written     time.Time
		req         credential.Request
		change      func(*memory)
		says        string
	}{
		{name: "no entry", value: "x", req: request("github.com", "other/x"), says: "read keyring://gatepass/other: the keyring has no such entry; store a token"},
		{name: "an old token", value: "ghs_one", written: time.Now().Add(-2 * time.Hour), says: "expired at"},
		{name: "no token", value: "<html>", says: "a web page"},
		{name: "a locked keyring", value: "ghs_one", change: func(m *memory) { m.locked = true }, says: "the keyring is locked; unlock it"},
		{name: "a silent keyring", value: "ghs_one", change: func(m *memory) { m.silent = true }, says: "does not answer; check that"},
		{name: "no path", value: "ghs_one", req: request("github.com", ""), says: "useHttpPath"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, r := stored(t, c.value, c.written)
			if c.change != nil {
				c.change(r)
			}
			if c.req.Host == "" {
				c.req = widgets
			}
			_, err := s.Token(t.Context(), c.req)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "ghs_one") {
				t.Errorf("Token = %v, want an error with %q and no token", err, c.says)
			}
		})
	}
}

func TestEveryErrorOfARingHasARemedy(t *testing.T) {
	for _, err := range []error{errNotFound, errAmbiguous, errLocked, errNoAnswer, errors.New("other")} {
		if remedy(err) == "" && !(storeHint == "" && err == errNotFound) {
			t.Errorf("remedy(%v) is empty", err)
		}
	}
}

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

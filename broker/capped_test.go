package broker

import (
	"net/http"
	"strings"
	"testing"
)

// The limit of a rule holds whatever its profile allows and however a token is asked for:
// where it says none, no token leaves the broker, and none is minted for it.
func TestTokenLimits(t *testing.T) {
	const (
		read       = `{"host":"github.com","repo":"acme/widgets","operation":"read"}`
		write      = `{"host":"github.com","repo":"acme/widgets","operation":"write"}`
		permission = `{"host":"github.com","repo":"acme/widgets","operation":"read","permissions":{"contents":"write"}}`
		narrow     = `{"host":"github.com","repo":"acme/widgets","operation":"read","permissions":{"contents":"read"}}`
	)
	for _, c := range []struct {
		limit  TokenLimit
		body   string
		status int
		detail string
	}{
		{TokensWrite, write, http.StatusOK, ""},
		{TokensRead, read, http.StatusOK, ""},
		{TokensRead, narrow, http.StatusOK, ""},
		{TokensRead, write, http.StatusForbidden, "the rule ci gives tokens that read only; push through the git gateway"},
		{TokensRead, permission, http.StatusForbidden, "read only"},
		{TokensNone, read, http.StatusForbidden, "the rule ci gives no tokens; use the git gateway"},
		{TokensNone, narrow, http.StatusForbidden, "no tokens"},
		{TokensNone, write, http.StatusForbidden, "no tokens"},
		{"an unknown limit", read, http.StatusForbidden, "no tokens"},
	} {
		b := newBench(t)
		b.policy.Rules[0].Tokens = c.limit
		got := b.ask("ci", "/v1/token", "application/json", c.body)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.detail) {
			t.Errorf("%q, %s: %d %s, want %d with %q", c.limit, c.body, got.Code, got.Body, c.status, c.detail)
		}
		if c.status != http.StatusOK && (b.mints() != 0 || strings.Contains(got.Body.String(), "ghs_")) {
			t.Errorf("%q, %s: %d tokens were minted; answered %s", c.limit, c.body, b.mints(), got.Body)
		}
	}
}

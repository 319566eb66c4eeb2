package brokerclient

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/credentialtest"
)

// A workspace whose clock was wrong refused every token, or kept using dead ones. What
// counts is how much later than the broker's answer a token expires; git and the agent
// compare that with the workspace's own clock.
func TestATokensEndByTheWorkspacesClock(t *testing.T) {
	for _, c := range []struct {
		name      string
		off, life time.Duration // off: relative to the clock of the broker's times
		hasDate   bool
		want      time.Duration // 0 for a refusal
	}{
		{"right clocks", 0, time.Hour, true, time.Hour},
		{"the workspace two hours ahead", -2 * time.Hour, 50 * time.Minute, true, 50 * time.Minute},
		{"the workspace two hours behind", 2 * time.Hour, 50 * time.Minute, true, 50 * time.Minute},
		{"a token that is over", 2 * time.Hour, -time.Minute, true, 0},
		{"two hours behind, and no Date", 2 * time.Hour, 50 * time.Minute, false, time.Hour},
	} {
		s, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now := time.Now().Add(c.off)
			w.Header()["Date"] = nil
			if c.hasDate {
				w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"username":"x-access-token","token":%q,"expires_at":%q,"repositories":["acme/widgets"],"permissions":{"contents":"read"}}`,
				credentialtest.Secret(1), now.Add(c.life).UTC().Format(time.RFC3339))
		}))
		token, err := s.Token(t.Context(), widgets)
		left := time.Until(token.Expiry)
		if (err == nil) != (c.want > 0) || err == nil && (left-c.want).Abs() > 10*time.Second {
			t.Errorf("%s: the token lasts %v, %v, want %v", c.name, left, err, c.want)
		}
		if err != nil {
			continue
		}
		// The agent's cache uses that, too.
		cache := &credential.Cache{Source: s}
		for range 2 {
			if token, err = cache.Token(t.Context(), widgets); err != nil {
				t.Errorf("%s: Cache.Token = %v", c.name, err)
			}
		}
		if !token.Cached() {
			t.Errorf("%s: the cache asks again at once", c.name)
		}
	}
}

package oidc

import (
	"errors"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/clocktest"
)

// A key that the issuer took back while the broker was suspended is not believed
// afterwards: neither are keys as fresh as they were, nor is what was signed with it.
func TestKeysAfterSleep(t *testing.T) {
	i := newIssuer(t)
	now := time.Now()
	i.clock = now
	by := i.identifier(t, nil)
	by.now, by.keys.now = func() time.Time { return now }, func() time.Time { return now }
	token := i.token(map[string]any{"exp": now.Add(3 * time.Hour).Unix()})
	if _, err := identify(t.Context(), by, token); err != nil {
		t.Fatal(err)
	}
	i.publish(map[string]any{"new": &otherRSAKey().PublicKey})
	now = clocktest.Slept(now.Add(tryAgain), 2*time.Hour)
	if _, err := identify(t.Context(), by, token); !errors.Is(err, errUnknownKey) {
		t.Errorf("Identify = %v after two hours of sleep, want errUnknownKey", err)
	}
}

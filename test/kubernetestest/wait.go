package kubernetestest

import (
	"testing"
	"time"
)

// Wait calls done every 20 ms until it returns true, and fails the test when that
// takes longer than within. What done returns beside it says what it saw, for the
// failure.
func Wait(t testing.TB, within time.Duration, what string, done func() (ok bool, saw any)) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		ok, saw := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", within, what, saw)
		}
	}
}

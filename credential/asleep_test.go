package credential

import (
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/clocktest"
)

// A token that was given an hour from now ends an hour from now, whatever the
// machine does meanwhile.
func TestATokenEndsWhileTheMachineSleeps(t *testing.T) {
	now := time.Now()
	token := NewToken("ghs_x", now.Add(time.Hour))
	if left := token.Expiry.Sub(clocktest.Slept(now, 2*time.Hour)); left > -59*time.Minute {
		t.Errorf("after two hours of sleep %v are left, want none", left)
	}
}

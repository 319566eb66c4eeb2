package credential

import (
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/clocktest"
)

// A token that expires an hour from now does so even if the machine sleeps meanwhile.
func TestATokenEndsWhileTheMachineSleeps(t *testing.T) {
	now := time.Now()
	token := NewToken("ghs_x", now.Add(time.Hour))
	if left := token.Expiry.Sub(clocktest.Slept(now, 2*time.Hour)); left > -59*time.Minute {
		t.Errorf("after two hours of sleep %v are left, want none", left)
	}
}

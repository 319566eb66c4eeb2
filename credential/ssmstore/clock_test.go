package ssmstore

import (
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// The times of a parameter are by AWS's clock and GitHub's. On a machine whose clock is
// wrong they are corrected by the Date of the answer, so that no live token is refused,
// and no expired one is given.
func TestATokensEndByTheMachinesClock(t *testing.T) {
	for _, off := range []time.Duration{0, -2 * time.Hour, 2 * time.Hour} {
		theirs := func() time.Time { return time.Now().Add(off) }
		for name, c := range map[string]struct {
			value string
			want  time.Duration
		}{
			"a bare token":   {"ghs_0123456789", 40 * time.Minute},
			"one that says":  {`{"token":"ghs_0123456789","expires_at":"` + theirs().Add(30*time.Minute).UTC().Format(time.RFC3339) + `"}`, 30 * time.Minute},
			"one that ended": {`{"token":"ghs_0123456789","expires_at":"` + theirs().Add(-30*time.Minute).UTC().Format(time.RFC3339) + `"}`, 0},
		} {
			d := &double{region: "eu-central-1", off: off, parameters: map[string]parameter{"/x": {c.value, theirs().Add(-20 * time.Minute)}}}
			s := open(t, "ssm:///x?region=eu-central-1&endpoint="+start(t, d))
			token, err := s.Token(t.Context(), credential.Request{})
			if left := time.Until(token.Expiry); (err == nil) != (c.want > 0) || err == nil && (left-c.want).Abs() > 10*time.Second {
				t.Errorf("%v off, %s: it lasts %v, %v, want %v", off, name, left, err, c.want)
			}
		}
	}
}

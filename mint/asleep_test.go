package mint

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/clocktest"
)

// signatures counts what it signs.
type signatures int

func (c *signatures) Sign(context.Context, [sha256.Size]byte) ([]byte, error) {
	*c++
	return []byte("x"), nil
}

// A JWT is shown until it ends, also where the machine was suspended or its clock
// was set meanwhile.
func TestAJWTEndsByEitherClock(t *testing.T) {
	begun := time.Now()
	for _, c := range []struct {
		name string
		now  time.Time
		want signatures
	}{
		{"at once", begun, 1},
		{"seven minutes later", begun.Add(7 * time.Minute), 1},
		{"eight minutes later", begun.Add(8 * time.Minute), 2},
		{"after two hours of sleep", clocktest.Slept(begun, 2*time.Hour), 2},
		{"set forward by an hour", clocktest.Slept(begun, time.Hour), 2},
		{"set back by an hour", clocktest.Slept(begun, -time.Hour), 1},
		{"set back by an hour, eight minutes later", clocktest.Slept(begun.Add(8*time.Minute), -time.Hour), 2},
	} {
		var p jwtCache
		var signed signatures
		for _, now := range []time.Time{begun, c.now} {
			if _, err := p.token(t.Context(), "app", &signed, now, 0); err != nil {
				t.Fatal(err)
			}
		}
		if signed != c.want {
			t.Errorf("%s: %d JWTs are signed, want %d", c.name, signed, c.want)
		}
	}
}

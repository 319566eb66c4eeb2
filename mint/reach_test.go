package mint

import (
	"errors"
	"net/http"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func TestReach(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   *fakegithub.Fault
		reached bool
	}{
		{"all is well", nil, true},
		{"its rate limits are off", new(fakegithub.Status(http.StatusNotFound)), true},
		{"it tells strangers nothing", new(fakegithub.Status(http.StatusUnauthorized)), true},
		{"it is busy", new(fakegithub.RateLimited(0)), true},
		{"it is down", new(fakegithub.Status(http.StatusBadGateway)), false},
		{"nobody is there", new(fakegithub.Reset()), false},
	} {
		g := newGitHub(t)
		if c.fault != nil {
			g.Fail(fakegithub.To(http.MethodGet, "/rate_limit"), *c.fault, -1)
		}
		err := g.anonymous().Reach(t.Context())
		e, ok := errors.AsType[*Error](err)
		if (err == nil) != c.reached || err != nil && (!ok || e.Kind != Unavailable) {
			t.Errorf("%s: Reach = %v, want reached %v", c.name, err, c.reached)
		}
	}
}

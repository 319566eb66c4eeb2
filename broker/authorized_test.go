package broker

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// barred is a Bar that a test sets.
type barred struct {
	is  bool
	err error
}

func (b *barred) BarredFor(context.Context, string, string) (bool, error) { return b.is, b.err }
func (b *barred) Barred(context.Context, string) (bool, error)            { return b.is, b.err }

// The bar is looked at before anything is made, and again before it is given; one
// that cannot be looked at bars.
func TestTheBarIsLookedAtTwice(t *testing.T) {
	away := errors.New("the store is away")
	for _, c := range []struct {
		name          string
		before, after barred
		asked         bool
		status        int // 0 means that it is given
	}{
		{"nobody is barred", barred{}, barred{}, true, 0},
		{"barred before", barred{is: true}, barred{}, false, http.StatusForbidden},
		{"barred meanwhile", barred{}, barred{is: true}, true, http.StatusForbidden},
		{"the bars cannot be read", barred{err: away}, barred{}, false, http.StatusServiceUnavailable},
		{"the bars cannot be read any more", barred{}, barred{err: away}, true, http.StatusServiceUnavailable},
	} {
		b, bar, asked := newBench(t), c.before, false
		vend := Authorized(&bar, func(_ context.Context, _ Workspace, _ Ask, s Scope) (Grant, error) {
			asked, bar = true, c.after
			return Grant{Token: credential.NewToken("ghs_x", time.Now().Add(time.Hour)), Scope: s}, nil
		})
		w := Workspace{ID: "sb-1", Policy: b.policy, Profile: b.profile("[acme/widgets]", "[clone]")}
		g, err := vend(t.Context(), w, Ask{Host: "github.com", Owner: "acme", Name: "widgets", Operation: "read"})
		status := 0
		if refusal, ok := errors.AsType[*Refusal](err); ok {
			status = refusal.Status
		}
		if asked != c.asked || status != c.status || g.Token.IsZero() != (c.status != 0) {
			t.Errorf("%s: asked = %v, answer %v, %v, want asked = %v and status %d", c.name, asked, g.Token, err, c.asked, c.status)
		}
		if err != nil && strings.Contains(err.Error(), "ghs_x") {
			t.Errorf("%s: the error shows the token: %v", c.name, err)
		}
	}
}

package mint

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// The second system slept in a worker through GitHub's rate limits, and all other
// objects waited with it. An App with Once comes back at once, whatever the answer.
func TestOnceDoesNotWait(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault fakegithub.Fault
		kind  Kind
		after time.Duration
	}{
		{"a secondary limit of ten seconds", fakegithub.SecondaryRateLimited(10 * time.Second), RateLimited, 10 * time.Second},
		{"a secondary limit that does not say", fakegithub.SecondaryRateLimited(-1), RateLimited, time.Minute},
		{"an outage", fakegithub.Status(502), Unavailable, 0},
		{"a broken connection", fakegithub.Reset(), Unavailable, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGitHub(t)
			g.app.Once = true
			cancel := g.Fail(fakegithub.To("POST", "/access_tokens"), c.fault, -1)
			began := time.Now()
			_, err := g.app.Mint(t.Context(), g.grant())
			if e, ok := errors.AsType[*Error](err); !ok || e.Kind != c.kind || e.RetryAfter != c.after {
				t.Errorf("%s: Mint = %v, want kind %d after %v", c.name, err, c.kind, c.after)
			}
			if g.mints() != 1 || time.Since(began) != 0 {
				t.Errorf("%s: %d attempts in %v, want one at once", c.name, g.mints(), time.Since(began))
			}
			cancel()
			_, err = g.app.Mint(t.Context(), g.grant())
			if isHeld := c.after > 0; isHeld != (err != nil) || time.Since(began) != 0 {
				t.Errorf("%s: the next Mint = %v after %v, want a pause kept without waiting: %v", c.name, err, time.Since(began), isHeld)
			}
			time.Sleep(c.after)
			if _, err = g.app.Mint(t.Context(), g.grant()); err != nil {
				t.Errorf("%s: Mint after the pause = %v", c.name, err)
			}
		})
	}
}

// A wrong clock is no reason to come back later: the next attempt is right.
func TestOnceStillLearnsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.app.Once = true
		g.app.Now = func() time.Time { return time.Now().Add(time.Hour) }
		if _, err := g.app.Mint(t.Context(), g.grant()); err != nil {
			t.Errorf("Mint with a clock that is an hour ahead = %v", err)
		}
	})
}

func TestOnceRevokesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.app.Once = true
		g.lag(t, 3*time.Second, http.StatusUnauthorized)
		token, began := g.mint(t), time.Now()
		err := g.app.Revoke(t.Context(), token)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != BadToken || time.Since(began) != 0 {
			t.Errorf("Revoke = %v after %v, want kind BadToken at once", err, time.Since(began))
		}
		time.Sleep(3 * time.Second)
		if err := g.app.Revoke(t.Context(), token); err != nil || len(g.Tokens()) != 0 {
			t.Errorf("Revoke later = %v with %d live tokens", err, len(g.Tokens()))
		}
	})
}

// A token that must not be used is known to the App alone. It does not hold the caller,
// and it is not left alive either.
func TestOnceSettlesWhatItOwes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.app.Once = true
		g.lag(t, 20*time.Second, http.StatusUnauthorized)
		g.app.Client = &http.Client{Transport: meddler{g.Transport(), func(o map[string]any) { o["repository_selection"] = "all" }}}
		began := time.Now()
		m, err := g.app.Mint(t.Context(), g.grant())
		if !errors.Is(err, ErrWider) || m.Unconfirmed != 0 || g.app.Owed() != 1 || time.Since(began) != 0 {
			t.Fatalf("Mint = %+v, %v after %v with %d owed, want %v at once and one owed", m, err, time.Since(began), g.app.Owed(), ErrWider)
		}
		if err := g.app.Settle(t.Context()); err == nil || g.app.Owed() != 1 {
			t.Errorf("Settle = %v with %d owed, want the token kept while GitHub does not know it", err, g.app.Owed())
		} else if strings.Contains(err.Error(), "ghs_") {
			t.Errorf("the error shows the token: %v", err)
		}
		next := &App{ID: g.app.ID, Signer: g.signer, URL: g.app.URL, Client: g.app.Client, Once: true}
		next.Inherit(g.app)
		time.Sleep(20 * time.Second)
		if err := next.Settle(t.Context()); err != nil || next.Owed() != 0 || g.app.Owed() != 0 || len(g.Tokens()) != 0 {
			t.Errorf("Settle = %v with %d owed and %d live tokens, want none", err, next.Owed(), len(g.Tokens()))
		}
	})
}

// A token that ran out meanwhile needs no request.
func TestWhatIsOwedRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.app.Once = true
		token := g.mint(t)
		g.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(502), -1)
		if err := g.app.TakeBack(t.Context(), token); err != nil || g.app.Owed() != 1 {
			t.Fatalf("TakeBack = %v with %d owed, want it kept", err, g.app.Owed())
		}
		time.Sleep(time.Hour + time.Second)
		if err := g.app.Settle(t.Context()); err != nil || g.app.Owed() != 0 {
			t.Errorf("Settle = %v with %d owed, want a dead token forgotten", err, g.app.Owed())
		}
	})
}

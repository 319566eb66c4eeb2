package workspace

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// runOff returns an Issuer on a machine whose clock is ahead of GitHub's.
func (c *city) runOff(ahead time.Duration) *Issuer {
	i := c.run(&mortal{})
	i.Now, i.App.Now = nil, func() time.Time { return c.Now().Add(ahead) }
	return i
}

// offBy runs a test on machines whose clocks are wrong.
func offBy(t *testing.T, test func(t *testing.T, ahead time.Duration)) {
	for name, ahead := range map[string]time.Duration{"two hours ahead": 2 * time.Hour, "two hours behind": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, ahead) })
		})
	}
}

// A machine whose clock was wrong treated each new token as expired, deleted it and
// minted another with every round: live tokens in no record
// (sanitizers/octomachinery#75). The times in the record are by GitHub's clock, on
// every machine.
func TestAWrongClockLosesNoToken(t *testing.T) {
	offBy(t, func(t *testing.T, ahead time.Duration) {
		c := newCity(t)
		r, err := c.runOff(ahead).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets, octo/widgets"), 0)
		if err != nil || r.Condition(c.Now()) != Ready || (r.Soonest().Sub(c.Now())-time.Hour).Abs() > time.Minute {
			t.Fatalf("Create = %+v, %v, want tokens that last an hour", r, err)
		}
		c.checkLive(2, 0)
		for range 3 { // each a process of its own
			time.Sleep(5 * time.Minute)
			if sum, err := (&Round{Issuer: c.runOff(ahead)}).Run(t.Context()); err != nil || sum.Due != 0 || sum.Minted != 0 || sum.Expired != 0 {
				t.Errorf("the round = %+v, %v, want nothing due", sum, err)
			}
		}
		c.checkLive(2, 0)
		time.Sleep(25 * time.Minute)
		if sum, err := (&Round{Issuer: c.runOff(ahead)}).Run(t.Context()); err != nil || sum.Minted != 2 {
			t.Errorf("the round = %+v, %v, want both replaced before they end", sum, err)
		}
		// A machine with the right clock continues where the other stopped.
		if sum, err := (&Round{Issuer: c.runOff(0)}).Run(t.Context()); err != nil || sum.Due != 0 {
			t.Errorf("the round of another machine = %+v, %v, want nothing due", sum, err)
		}
		if lost, err := c.runOff(ahead).Destroy(t.Context(), "sb-1"); err != nil || len(lost) != 0 {
			t.Errorf("Destroy = %v, %v", lost, err)
		}
		c.checkNames()
		if live := len(c.Tokens()); live != 0 {
			t.Errorf("%d tokens are alive, want none", live)
		}
	})
}

// An operator's block revokes tokens that are live by GitHub's clock.
func TestAWrongClockWithdraws(t *testing.T) {
	offBy(t, func(t *testing.T, ahead time.Duration) {
		c := newCity(t)
		if _, err := c.runOff(0).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets, octo/widgets"), 0); err != nil {
			t.Fatal(err)
		}
		block, err := store.Blocked("sb-1")
		if err == nil {
			err = c.store.Put(t.Context(), block, store.NewSecret("{}"), store.Replace)
		}
		if err != nil {
			t.Fatal(err)
		}
		revoked := 0
		i := c.runOff(ahead)
		i.Audit = func(e Event) {
			if e.Type == Ended {
				revoked++
			}
		}
		if err := i.RevokeBlocked(t.Context(), "sb-1"); err != nil || revoked != 2 || len(c.Tokens()) != 0 {
			t.Errorf("RevokeBlocked = %v, revokes %d and leaves %d alive, want 2 and none", err, revoked, len(c.Tokens()))
		}
	})
}

// If GitHub does not tell the time, a token that seems to have expired may be alive: it
// is not forgotten, and destroy does not report that nothing is left.
func TestWithoutGitHubAClockIsDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		if _, err := c.runOff(0).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
			t.Fatal(err)
		}
		up := c.Fail(func(*http.Request) bool { return true }, fakegithub.Status(502), -1)
		if _, err := c.runOff(2*time.Hour).Destroy(t.Context(), "sb-1"); err == nil {
			t.Error("Destroy = nil while a token lives")
		}
		c.checkNames("github-token", "github-tokens/acme", "workspace")
		up()
		if _, err := c.runOff(2*time.Hour).Destroy(t.Context(), "sb-1"); err != nil || len(c.Tokens()) != 0 {
			t.Errorf("Destroy = %v, and %d tokens are alive, want none", err, len(c.Tokens()))
		}
	})
}

// A token that expired days ago can be forgotten without GitHub.
func TestWithoutGitHubWhatIsLongOverGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		if _, err := c.runOff(0).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		c.Fail(func(*http.Request) bool { return true }, fakegithub.Status(502), -1)
		if _, err := c.runOff(0).Destroy(t.Context(), "sb-1"); err != nil {
			t.Errorf("Destroy = %v, want it done", err)
		}
		c.checkNames()
	})
}

// One answer of GitHub pauses the whole round: the others are left to the next round
// without a request each (scala-steward-org/scala-steward#2355).
func TestASecondaryLimitHoldsBackThePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		ids := []string{"sb-1", "sb-2", "sb-3", "sb-4", "sb-5", "sb-6", "sb-7", "sb-8", "sb-9", "sb-10"}
		i := c.runOff(0)
		for _, id := range ids {
			if _, err := i.Create(t.Context(), id, profileOf(t, "acme/widgets"), 0); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Minute)
		asked := func() int {
			return c.Count(func(r fakegithub.Request) bool { return r.Path != "/rate_limit" })
		}
		before := asked()
		c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.SecondaryRateLimited(-1), -1)
		sum, err := (&Round{Issuer: i, Workers: 1}).Run(t.Context())
		if err != nil || sum.Failed != 0 || sum.Deferred != len(ids) || asked()-before != 1 {
			t.Errorf("the round = %+v, %v after %d requests, want all left to the next after one", sum, err, asked()-before)
		}
	})
}

// When an App other than the first minted, a run measured its minute by GitHub's clock,
// although the minute had begun by the machine's: if the two differed, it minted
// nothing.
func TestAWrongClockMintsWithSeveralApps(t *testing.T) {
	l := newLeague(t, 2, 5000)
	l.Advance(5 * time.Minute) // GitHub's clock; that of this machine stays behind
	i := l.issuer()
	i.Now, i.NotReady = nil, errors.New("its key is gone") // the second App mints
	for _, app := range l.own {
		app.Now = time.Now
	}
	if r, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil || r.Condition(l.Now()) != Ready {
		t.Errorf("Create = %+v, %v, want a token", r, err)
	}
}

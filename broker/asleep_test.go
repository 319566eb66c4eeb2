package broker

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/clocktest"
	"github.com/gatepass/gatepass/test/storetest"
)

// Tokens and refusals end in memory by whichever clock says so.
func TestWhatIsCachedEndsByEitherClock(t *testing.T) {
	for _, c := range []struct {
		name    string
		later   func(time.Time) time.Time
		minted  int // of a token
		refused int // times that GitHub is asked for what it refuses
	}{
		{"at once", func(t time.Time) time.Time { return t }, 1, 1},
		{"after two hours of sleep", func(t time.Time) time.Time { return clocktest.Slept(t, 2*time.Hour) }, 2, 2},
		{"two hours later by a clock that was set back", func(t time.Time) time.Time { return clocktest.Slept(t.Add(2*time.Hour), -2*time.Hour) }, 2, 2},
		{"set back by an hour", func(t time.Time) time.Time { return clocktest.Slept(t, -time.Hour) }, 1, 1},
	} {
		now := time.Now()
		asked := map[string]int{}
		cache := &Cache{Now: func() time.Time { return now }, Mint: func(_ context.Context, s Scope) (mint.Minted, error) {
			asked[s.Repo.Name]++
			if s.Repo.Name == "refused" {
				return mint.Minted{}, &Refusal{Status: http.StatusForbidden}
			}
			return mint.Minted{Token: credential.NewToken(fmt.Sprint("ghs_", asked[s.Repo.Name]), now.Add(time.Hour))}, nil
		}}
		for range 2 {
			for _, name := range []string{"widgets", "refused"} {
				_, _, _ = cache.Get(t.Context(), "sb-1", Scope{Repo: gitname.Repo{Owner: "acme", Name: name}}, 0)
			}
			now = c.later(now)
		}
		if asked["widgets"] != c.minted || asked["refused"] != c.refused {
			t.Errorf("%s: asked %v, want widgets %d and refused %d times", c.name, asked, c.minted, c.refused)
		}
	}
}

// Who was blocked while a broker was suspended is blocked from its first answer on.
func TestBlocksAfterSleep(t *testing.T) {
	in, now := new(storetest.Memory), time.Now()
	blocks := &Blocklist{Store: in, Now: func() time.Time { return now }}
	if blocked, err := blocks.Blocked(t.Context(), "sb-1"); blocked || err != nil {
		t.Fatalf("Blocked = %v, %v, want nobody to be", blocked, err)
	}
	if err := (&Blocklist{Store: in}).Block(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	now = clocktest.Slept(now, 2*time.Hour)
	if blocked, err := blocks.Blocked(t.Context(), "sb-1"); !blocked || err != nil {
		t.Errorf("Blocked = %v, %v after two hours of sleep, want it blocked", blocked, err)
	}
}

// A clock that is set back takes nothing from a workspace.
func TestALimiterWhoseClockIsSetBack(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := &Limiter{Limits: func() Limits { return Limits{Rate: 1, Burst: 3} }, Now: func() time.Time { return now }}
	if err := l.Count("sb-1"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	if err := l.Count("sb-1"); err != nil {
		t.Errorf("Count = %v after the clock was set back, want one more let through", err)
	}
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/clocktest"
)

// presses is a GitHub that gives tok-1, tok-2, …, each for an hour, or err.
type presses struct {
	made  int
	err   error
	takes time.Duration
}

func (p *presses) mint(ctx context.Context, _ Scope) (mint.Minted, error) {
	p.made++
	made := p.made
	select {
	case <-time.After(p.takes):
	case <-ctx.Done():
		return mint.Minted{}, ctx.Err()
	}
	if p.err != nil {
		return mint.Minted{}, p.err
	}
	return mint.Minted{Token: credential.NewToken(fmt.Sprint("tok-", made), time.Now().Add(time.Hour))}, nil
}

var widgets = Scope{Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, Grant: mint.Grant{Permissions: mint.PermissionLevels(map[string]string{"contents": "read"})}}

// gives asks a cache for widgets and compares; token "" means an error.
func gives(t *testing.T, c *Cache, ttl time.Duration, token string, fromMemory bool) {
	t.Helper()
	got, cached, err := c.Get(t.Context(), "sb-1", widgets, ttl)
	if got.Secret() != token || (err == nil) != (token != "") || token != "" && cached != fromMemory {
		t.Errorf("Get = %q, from memory %v, %v, want %q, %v", got.Secret(), cached, err, token, fromMemory)
	}
	synctest.Wait() // for a mint that no caller waits for
}

func TestATokenIsReplacedInItsLastQuarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &presses{}
		c := &Cache{Mint: p.mint}
		gives(t, c, 0, "tok-1", false)
		time.Sleep(45*time.Minute - 1)
		gives(t, c, 0, "tok-1", true)
		if p.made != 1 {
			t.Errorf("%d mints in the first three quarters, want 1", p.made)
		}
		time.Sleep(10 * time.Minute) // the renewal time is random, and has passed
		gives(t, c, 0, "tok-1", true)
		gives(t, c, 0, "tok-2", true)
		time.Sleep(55 * time.Minute) // too little left to be given while another is minted
		gives(t, c, 0, "tok-3", false)
		if p.made != 3 {
			t.Errorf("%d mints, want 3", p.made)
		}
	})
}

func TestATokenLastsAsLongAsWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &presses{}
		c := &Cache{Mint: p.mint}
		gives(t, c, 50*time.Minute, "tok-1", false)
		time.Sleep(9 * time.Minute)
		gives(t, c, 50*time.Minute, "tok-1", true)
		time.Sleep(2 * time.Minute)
		gives(t, c, 50*time.Minute, "tok-2", false)
		p.err = errors.New("away")
		time.Sleep(11 * time.Minute)
		gives(t, c, 50*time.Minute, "tok-2", false) // no token lasts longer
	})
}

// While GitHub is unavailable, what works is given for as long as it lasts; what
// GitHub does not grant any more is not.
func TestWhatIsGivenInTrouble(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		given bool
	}{
		{"it is unknown", errors.New("away"), true},
		{"an outage", &Refusal{Status: http.StatusServiceUnavailable}, true},
		{"GitHub's own", &Refusal{Status: http.StatusInternalServerError}, true},
		{"a rate limit", &Refusal{Status: http.StatusTooManyRequests}, true},
		{"what is not granted", &Refusal{Status: http.StatusForbidden}, false},
		{"what is none", &Refusal{Status: http.StatusNotFound}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &presses{}
			cache := &Cache{Mint: p.mint}
			gives(t, cache, 0, "tok-1", false)
			p.err = c.err
			time.Sleep(55*time.Minute - 1)
			gives(t, cache, 0, "tok-1", true) // the outage is not known yet
			old := ""
			if c.given {
				old = "tok-1"
			}
			gives(t, cache, 0, old, true)
			time.Sleep(4 * time.Minute) // a little more than a minute left
			got, _, err := cache.Get(t.Context(), "sb-1", widgets, 0)
			if (got.Secret() == "tok-1") != c.given || (err == nil) != c.given {
				t.Errorf("%s: Get = %q, %v near the end, want the old token: %v", c.name, got.Secret(), err, c.given)
			}
			time.Sleep(time.Second)
			gives(t, cache, 0, "", false)
			p.err = nil
			time.Sleep(refusalLife)
			gives(t, cache, 0, fmt.Sprint("tok-", p.made+1), false)
		})
	}
}

func TestHowLongAFailureIsBelieved(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want time.Duration
	}{
		{"what is not granted", &Refusal{Status: http.StatusForbidden}, 30 * time.Second},
		{"what is not granted, whenever", &Refusal{Status: http.StatusForbidden, RetryAfter: time.Second}, 30 * time.Second},
		{"a rate limit", &Refusal{Status: http.StatusTooManyRequests, RetryAfter: 10 * time.Second}, 10 * time.Second},
		{"an outage of known length", &Refusal{Status: http.StatusInternalServerError, RetryAfter: 7 * time.Second}, 7 * time.Second},
		{"a long one", &Refusal{Status: http.StatusServiceUnavailable, RetryAfter: time.Hour}, time.Minute},
		{"an outage", &Refusal{Status: http.StatusServiceUnavailable}, 3 * time.Second},
		{"anything else", errors.New("away"), 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &presses{err: c.err}
			cache := &Cache{Mint: p.mint}
			gives(t, cache, 0, "", false)
			time.Sleep(c.want - 1)
			if _, _, err := cache.Get(t.Context(), "sb-1", widgets, 0); !errors.Is(err, c.err) || p.made != 1 {
				t.Errorf("%s: Get = %v after %d mints, want that failure from memory", c.name, err, p.made)
			}
			time.Sleep(time.Nanosecond)
			if gives(t, cache, 0, "", false); p.made != 2 {
				t.Errorf("%s: %d mints after %v, want 2", c.name, p.made, c.want)
			}
		})
	}
}

// A mint serves all callers that wait, even if some give up, and the next one.
func TestAMintOutlivesWhoBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &presses{takes: 10 * time.Second}
		c := &Cache{Mint: p.mint}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := c.Get(ctx, "sb-1", widgets, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get = %v, want the asker's deadline", err)
		}
		gives(t, c, 0, "tok-1", false)
		gives(t, c, 0, "tok-1", true)
		p.takes = time.Hour
		c.Drop(func(Scope, credential.Token) bool { return true })
		start := time.Now()
		if gives(t, c, 0, "", false); time.Since(start) != mintTimeout {
			t.Errorf("a mint takes %v, want at most %v", time.Since(start), mintTimeout)
		}
	})
}

func TestWhatIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &presses{}
		c := &Cache{Mint: p.mint}
		other := Scope{Repo: gitname.Repo{Owner: "acme", Name: "gadgets"}, Grant: widgets.Grant}
		live := func() (n int) { c.Live(func(Scope, credential.Token) { n++ }); return n }
		gives(t, c, 0, "tok-1", false)
		if _, _, err := c.Get(t.Context(), "sb-1", other, 0); err != nil || live() != 2 {
			t.Fatalf("Get = %v and %d live, want two", err, live())
		}
		got := c.Drop(func(s Scope, tok credential.Token) bool { return s.Repo.Name == "gadgets" && tok.Secret() == "tok-2" })
		if len(got) != 1 || got[0].Secret() != "tok-2" || live() != 1 {
			t.Errorf("Drop = %v with %d live, want the one of gadgets", got, live())
		}
		gives(t, c, 0, "tok-1", true)
		time.Sleep(time.Hour)
		if n := live(); n != 0 {
			t.Errorf("%d are live after their end, want none", n)
		}
		p.err = errors.New("away")
		_, _, _ = c.Get(t.Context(), "sb-1", other, 0)
		if n := len(c.entries); n != 1 {
			t.Errorf("%d scopes are remembered, want the one that was asked for now", n)
		}
		time.Sleep(2 * sweepEvery)
		gives(t, c, 0, "", false)
		if n := len(c.entries); n != 1 {
			t.Errorf("%d scopes are remembered, want one: the failure of the other has passed", n)
		}
		if got := c.Drop(func(Scope, credential.Token) bool { return true }); len(got) != 0 {
			t.Errorf("Drop = %v, want no token", got)
		}
	})
}

// Tokens and refusals in memory expire by either clock.
func TestWhatIsCachedEndsByEitherClock(t *testing.T) {
	for _, c := range []struct {
		name    string
		later   func(time.Time) time.Time
		minted  int // of a token
		refused int // how often GitHub is asked for what it refuses
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

package workspace

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/faultinject"
	"github.com/gatepass/gatepass/test/storetest"
)

// troubled returns an issuer whose store or GitHub fails once. It is one process: it
// has to recover without a restart.
func (c *city) troubled(f *faultinject.Trouble) *Issuer {
	i := c.run(&mortal{})
	switch f.Kind {
	case faultinject.KeyDown:
		i.App.Signer = faultinject.Key{Signer: i.App.Signer, Trouble: f}
	case faultinject.StoreDown, faultinject.StoreLost:
		i.Store = faultinject.Swapper{Store: faultinject.Store{Store: i.Store, Trouble: f}}
	default:
		i.App.Client = &http.Client{Transport: faultinject.GitHub{RoundTripper: i.App.Client.Transport, Trouble: f}}
	}
	return i
}

// checkTokens allows no token that is wider than the profile, and none that
// neither the store nor the ledger knows.
func (c *city) checkTokens(when string, lost int) {
	c.t.Helper()
	if r, err := c.run(&mortal{}).Load(c.t.Context(), "sb-1"); err == nil {
		for _, t := range r.Tokens {
			if t.State == Minting || t.State == Minted || t.Lost {
				lost++
			}
		}
	}
	_, hashes := c.held()
	for _, t := range c.Tokens() {
		if slices.Equal(slices.Sorted(mapsKeys(t.Permissions)), []string{"metadata"}) {
			continue // a reader, which sees names
		}
		if t.Permissions["contents"] != "write" || len(t.Permissions) > 2 || len(t.Repositories) != 1 || !strings.HasSuffix(t.Repositories[0], "/widgets") {
			c.t.Errorf("%s: a token opens %v with %v", when, t.Repositories, t.Permissions)
		}
		if !slices.Contains(hashes, t.Hash) {
			lost--
		}
	}
	if lost < 0 {
		c.t.Errorf("%s: %d live tokens are neither in the store nor in the ledger", when, -lost)
	}
}

// TestEveryCallMayFail goes through creation, refresh and destruction once for every
// call and every way in which it can fail.
func TestEveryCallMayFail(t *testing.T) {
	t.Parallel()
	first, step := 1, 1
	fails := func(name, kind string, isPlain bool) {
		if testing.Short() { // every third call; the next kind of failure begins with another one
			first, step = first%3+1, 3
		}
		t.Run(name, func(t *testing.T) {
			for at := first; ; at += step {
				f := &faultinject.Trouble{Kind: kind, At: at}
				t.Run(fmt.Sprintf("call %d", at), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { live(t, f, isPlain) })
				})
				if f.IsOver() || t.Failed() {
					return
				}
			}
		})
	}
	for _, kind := range append(slices.Clone(faultinject.OnTheWay), faultinject.StoreDown, faultinject.StoreLost, faultinject.KeyDown) {
		fails(kind, kind, false)
	}
	fails("a plain store is down", faultinject.StoreDown, true)
	fails("a plain store's answer is lost", faultinject.StoreLost, true)
}

// live goes through the life of a workspace, and repeats every step until it succeeds.
func live(t *testing.T, f *faultinject.Trouble, isPlain bool) {
	c := newCity(t)
	i := c.troubled(f)
	if isPlain {
		i.Store = storetest.Plain(i.Store)
	}
	p := profileOf(t, "acme/w*, octo/widgets")
	lost := 0 // by a workspace that is gone
	again := func(step string, do func() error) {
		for try := 1; ; try++ {
			err := do()
			c.checkTokens(step, lost)
			if err == nil {
				return
			}
			if try == 3 {
				t.Fatalf("%s fails again and again: %v", step, err)
			}
			c.Advance(lockTime) // for a run that could not release its lock
		}
	}
	again("create", func() error { _, err := i.Create(t.Context(), "sb-1", p, 0); return err })
	c.Advance(41 * time.Minute)
	again("refresh", func() error { _, err := i.Refresh(t.Context(), "sb-1", false); return err })
	again("refresh by force", func() error { _, err := i.Refresh(t.Context(), "sb-1", true); return err })
	again("destroy", func() error {
		tokens, err := i.Destroy(t.Context(), "sb-1")
		if err == nil {
			lost += len(tokens)
		}
		return err
	})
	c.checkNames()
	c.Advance(tokenLife)
	if live := c.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive an hour later", len(live))
	}
}

// A clock that is a quarter of an hour wrong, either way, costs one request and breaks
// nothing.
func TestClocksThatDisagree(t *testing.T) {
	for _, off := range []time.Duration{15 * time.Minute, -15 * time.Minute} {
		c := newCity(t)
		i := c.run(&mortal{})
		now := func() time.Time { return c.Now().Add(off) }
		i.Now, i.App.Now = now, now
		if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
			t.Fatalf("with a clock that is %s ahead: Create = %v", off, err)
		}
		first := c.read()
		for range 20 {
			c.Advance(3 * time.Minute)
			if _, err := i.Refresh(t.Context(), "sb-1", false); err != nil {
				t.Fatalf("with a clock that is %s ahead: Refresh = %v", off, err)
			}
			if !c.isLive(c.read()) {
				t.Fatalf("with a clock that is %s ahead the workspace reads a dead token", off)
			}
		}
		if c.read() == first {
			t.Errorf("with a clock that is %s ahead nothing was refreshed in an hour", off)
		}
		if n := c.Count(func(r fakegithub.Request) bool { return r.Status == http.StatusUnauthorized }); n > 1 {
			t.Errorf("with a clock that is %s ahead GitHub refused %d times, want once", off, n)
		}
	}
}

package workspace

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// onlyRead returns the hash of the token at the name that programs of the first system
// read.
func (c *city) onlyRead() string {
	c.t.Helper()
	name, err := store.OnlyToken("sb-1")
	if err != nil {
		c.t.Fatal(err)
	}
	entry, err := c.store.Get(c.t.Context(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	return credential.NewToken(entry.Value.Reveal(), time.Time{}).Hash()
}

// Two systems that run at once for one sandbox would revoke each other's tokens every
// few minutes. gatepass reports that, and leaves the other's token alone.
func TestTwoSystemsAtOnce(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	says := func(when string, err error) {
		t.Helper()
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "sandbox/sb-1/github-token") || !strings.Contains(err.Error(), "refresh sb-1 --adopt") {
			t.Errorf("%s: %v, want it to name the place and what to do", when, err)
		}
	}
	theirs := c.inherit()
	_, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0)
	says("Create", err)
	for round := range 3 {
		if !c.isLive(theirs) || c.onlyRead() != theirs {
			t.Fatalf("round %d: the other system's token is gone", round)
		}
		r, err := i.Load(t.Context(), "sb-1")
		if err != nil || r.LastError == nil || !r.LastError.Foreign || len(r.Missing(c.Now())) > 0 {
			t.Errorf("round %d: the record is %+v, %v, want what is wrong, and a token of our own", round, r, err)
		}
		c.Advance(41 * time.Minute)
		theirs = c.inherit() // as its schedule does
		_, err = i.Refresh(t.Context(), "sb-1", false)
		says("Refresh", err)
		sum, err := (&Round{Issuer: i, Force: true}).Run(t.Context())
		if err != nil || sum.Failed != 1 {
			t.Errorf("a round counts %+v, %v, want it failed", sum, err)
		}
	}
	if sum, err := (&Round{Issuer: i}).Run(t.Context()); err != nil || sum.Due != 0 {
		t.Errorf("a round counts %+v, %v, want nothing due: the token of our own lasts", sum, err)
	}
	i.Adopt = true
	if sum, err := (&Round{Issuer: i}).Run(t.Context()); err != nil || sum.Refreshed != 1 {
		t.Errorf("a round that adopts counts %+v, %v, want one refreshed", sum, err)
	}
	if c.isLive(theirs) || !c.isLive(c.onlyRead()) {
		t.Error("the other's token is alive, or the workspace reads a dead one")
	}
	if r, err := i.Load(t.Context(), "sb-1"); err != nil || r.LastError != nil {
		t.Errorf("the record is %+v, %v, want no error any more", r, err)
	}
}

// When the other system has stopped, its last token expires and its place is free.
func TestATokenOfAnotherSystemThatHasRunOut(t *testing.T) {
	c := newCity(t)
	c.inherit()
	c.Advance(61 * time.Minute)
	c.create("acme/widgets")
	if !c.isLive(c.onlyRead()) {
		t.Error("the workspace reads the token that has run out")
	}
}

// A blocked workspace keeps no token, no matter which system wrote it.
func TestABlockTakesAnotherSystemsToken(t *testing.T) {
	for _, step := range []string{"RevokeBlocked", "Refresh"} {
		c := newCity(t)
		i := c.run(&mortal{})
		theirs := c.inherit()
		if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); !errors.Is(err, ErrForeign) {
			t.Fatal(err)
		}
		c.block(store.Blocked("sb-1"))
		var err error
		if step == "RevokeBlocked" {
			err = i.RevokeBlocked(t.Context(), "sb-1")
		} else {
			_, err = i.Refresh(t.Context(), "sb-1", false)
		}
		if err != nil || c.isLive(theirs) {
			t.Errorf("%s: %v, and the other's token is alive: %t", step, err, c.isLive(theirs))
		}
	}
}

// While a token of another system is adopted, the workspace can read a live one at
// every moment, and a run that is killed anywhere leaves nothing that the next does not
// finish.
func TestAdoptionIsMadeBeforeItBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it waits
		for n := 1; ; n++ {
			m := &mortal{at: n, after: n%2 == 0}
			c := newCity(t)
			if _, err := c.run(&mortal{}).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
				t.Fatal(err)
			}
			theirs := c.inherit()
			i := c.run(m)
			i.Adopt = true
			_, err := i.Refresh(t.Context(), "sb-1", false)
			if !c.isLive(c.onlyRead()) {
				t.Errorf("killed at %d, the workspace reads a dead token", n)
			}
			if !m.dead() {
				if err != nil || c.isLive(theirs) {
					t.Errorf("Refresh = %v, and the other's token is alive: %t", err, c.isLive(theirs))
				}
				return
			}
			c.Advance(lockTime)
			again := c.run(&mortal{})
			again.Adopt = true
			if _, err := again.Refresh(t.Context(), "sb-1", false); err != nil || c.isLive(theirs) || c.onlyRead() == theirs {
				t.Errorf("killed at %d: the next run = %v, and the other's token is alive: %t", n, err, c.isLive(theirs))
			}
			c.checkLive(1, 0)
			if n > 50 {
				t.Fatal("the run never comes to its end")
			}
		}
	})
}

// unready is a store that cannot make what a workspace's secrets need.
type unready struct{ store.Store }

func (unready) Prepare(context.Context, string) error { return errors.New("no key could be made") }

// A token that could not be stored is not minted.
func TestNothingIsMintedThatCannotBeKept(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	i.Store = unready{i.Store}
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err == nil || !strings.Contains(err.Error(), "no key could be made") {
		t.Errorf("Create = %v, want the store's reason", err)
	}
	if n := c.Count(isMint); n != 0 {
		t.Errorf("GitHub was asked for %d tokens, want none", n)
	}
}

// inherit puts a token into the store as the first system does.
func (c *city) inherit() (hash string) {
	c.t.Helper()
	token := c.foreign()
	c.putRaw("github-token", token)
	return fakegithub.Hash(token)
}

func (c *city) putRaw(name, value string) {
	c.t.Helper()
	n, err := store.ParseName("sandbox/sb-1/" + name)
	if err == nil {
		err = c.store.Put(c.t.Context(), n, store.NewSecret(value), store.Replace)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// A token of the first system stays in a sandbox until there is another.
func TestATokenOfTheFirstSystemStaysUntilItIsReplaced(t *testing.T) {
	c := newCity(t)
	old := c.inherit()
	stop := c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusForbidden), -1)
	i := c.run(&mortal{})
	i.Adopt = true
	for range 2 {
		if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err == nil {
			t.Fatal("Create = nil, want GitHub's refusal")
		}
		if !c.isLive(old) {
			t.Fatal("the token is revoked, and there is no other")
		}
		c.checkNames("github-token", "workspace")
	}
	stop()
	if _, err := i.Refresh(t.Context(), "sb-1", false); err != nil {
		t.Fatal(err)
	}
	if c.isLive(old) {
		t.Error("the token is alive, although another token replaced it")
	}
	c.checkNames("github-token", "github-tokens/acme", "workspace")
	c.checkLive(1, 0)
}

// A damaged ledger does not prevent the end of a workspace. One that a later gatepass
// made is left to that version.
func TestDestroyWithoutAReadableRecord(t *testing.T) {
	for _, c := range []struct {
		name, record string
		isDestroyed  bool
	}{
		{"no JSON", "{", true},
		{"of another workspace", `{"schema":1,"id":"sb-2","created":"2026-01-01T00:00:00Z"}`, true},
		{"without a version", "{}", true},
		{"of a later version", `{"schema":2}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			city := newCity(t)
			city.create("acme/widgets")
			city.putRaw("workspace", c.record)
			i := city.run(&mortal{})
			if _, err := i.FinishDestroy(t.Context(), "sb-1"); err == nil {
				t.Error("FinishDestroy = nil, want the workspace left alone")
			}
			city.checkLive(1, 0)
			lost, err := i.Destroy(t.Context(), "sb-1")
			if !c.isDestroyed {
				if err == nil || !strings.Contains(err.Error(), "use the version of gatepass that wrote it") {
					t.Errorf("Destroy = %v, want it left to a later gatepass", err)
				}
				city.checkLive(1, 0)
				return
			}
			if err != nil || len(lost) != 1 {
				t.Errorf("Destroy = %v, %v, want one token that may be lost", lost, err)
			}
			city.checkNames()
			city.checkLive(0, 0)
		})
	}
}

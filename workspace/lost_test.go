package workspace

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// meddled is a store in which somebody writes between two calls of a run.
type meddled struct {
	*storetest.Memory
	meddle func(n store.Name) // told of each write before it is made
}

func (m meddled) Swap(ctx context.Context, n store.Name, v store.Secret, version string, due time.Time) (string, error) {
	m.meddle(n)
	return m.Memory.Swap(ctx, n, v, version, due)
}

// rewrite writes an entry as it is, as a run of an earlier version does, which does not
// compare versions.
func (c *city) rewrite(n store.Name) {
	c.t.Helper()
	entry, err := c.store.Get(c.t.Context(), n)
	if err == nil {
		err = c.store.Put(c.t.Context(), n, entry.Value, store.Replace)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// A run that was away for longer than its lock lasts notices at its next write that
// another run has its place. It does nothing more, and leaves no token behind.
func TestARunThatLostItsPlaceDoesNothingMore(t *testing.T) {
	for at, when := range []string{"before GitHub is asked", "before the token is written down", "before it is said to be delivered"} {
		synctest.Test(t, func(t *testing.T) {
			c := newCity(t)
			c.create("acme/widgets")
			before := c.read()
			c.Advance(41 * time.Minute)
			saves, late := 0, 0
			i := c.run(&mortal{})
			i.Store = meddled{c.store.(*storetest.Memory), func(n store.Name) {
				if saves > at+1 {
					late++
				}
				if n.IsRecord() {
					if saves++; saves == at+1 {
						c.rewrite(n)
					}
				}
			}}
			r, err := i.Refresh(t.Context(), "sb-1", false)
			if !errors.Is(err, ErrBusy) || r == nil || late > 0 {
				t.Errorf("%s: Refresh = %v and writes %d times more, want ErrBusy and nothing written", when, err, late)
			}
			c.checkAccounted(when)
			if len(c.Tokens()) != 1 || !c.isLive(before) {
				t.Errorf("%s: %d tokens are alive, want the one of before", when, len(c.Tokens()))
			}
			c.refresh(false)
			c.checkAccounted("after the next run")
			if now := c.read(); now == before || !c.isLive(now) {
				t.Errorf("%s: the next run gives no new token", when)
			}
		})
	}
}

// What somebody else delivers while a run asks GitHub is not written over.
func TestATokenThatCameMeanwhileStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		c.create("acme/widgets")
		c.Advance(41 * time.Minute)
		theirs, isDone := c.foreign(), false
		i := c.run(&mortal{})
		i.Store = meddled{c.store.(*storetest.Memory), func(n store.Name) {
			if n.IsToken() && !isDone {
				isDone = true
				c.putRaw("github-tokens/acme", theirs)
			}
		}}
		if _, err := i.Refresh(t.Context(), "sb-1", false); !errors.Is(err, ErrBusy) {
			t.Errorf("Refresh = %v, want ErrBusy", err)
		}
		name, err := store.Token("sb-1", "acme")
		if err != nil {
			t.Fatal(err)
		}
		if entry, err := c.store.Get(t.Context(), name); err != nil || entry.Value.Reveal() != theirs {
			t.Errorf("the token of the other system is gone: %v", err)
		}
		if n := len(c.Tokens()); n != 2 {
			t.Errorf("%d tokens are alive, want theirs and the one of before", n)
		}
		if _, err := c.run(&mortal{}).Refresh(t.Context(), "sb-1", false); !errors.Is(err, ErrForeign) {
			t.Errorf("the next run = %v, want ErrForeign", err)
		}
	})
}

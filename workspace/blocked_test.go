package workspace

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

// blind is a store whose blocks cannot be read.
type blind struct{ store.Store }

var errBlind = errors.New("the blocks cannot be read")

func (b blind) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	if below == store.AllBlocks() {
		return func(yield func(store.Name, error) bool) { yield(store.Name{}, errBlind) }
	}
	return b.Store.List(ctx, below)
}

// block writes a block as an operator does; name and err are the results of a function
// of package store.
func (c *city) block(name store.Name, err error) store.Name {
	c.t.Helper()
	if err == nil {
		err = c.store.Put(c.t.Context(), name, store.NewSecret("x"), store.Replace)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return name
}

// owners lists those for which the workspace has a live token in the ledger.
func (c *city) owners() (list []string) {
	c.t.Helper()
	r, err := c.run(&mortal{}).Load(c.t.Context(), "sb-1")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, t := range r.Tokens {
		if t.State == Delivered {
			list = append(list, t.Owner)
		}
	}
	return list
}

// What an operator blocked is not minted again until it is unblocked.
func TestWhoIsBlockedIsGivenNothing(t *testing.T) {
	for name, block := range map[string]func() (store.Name, error){
		"the workspace": func() (store.Name, error) { return store.Blocked("sb-1") },
		"its owner":     func() (store.Name, error) { return store.BlockedOwner("ACME") },
		"the App":       func() (store.Name, error) { return store.BlockedApp(), nil },
	} {
		c := newCity(t)
		blocked := c.block(block())
		c.create("acme/widgets")
		if got := c.owners(); len(got) != 0 || len(c.Tokens()) != 0 {
			t.Errorf("%s blocked: the workspace has tokens of %q, want none", name, got)
		}
		if err := c.store.Delete(t.Context(), blocked); err != nil {
			t.Fatal(err)
		}
		c.refresh(false)
		if got := c.owners(); len(got) != 1 || len(c.Tokens()) != 1 {
			t.Errorf("%s given back: the workspace has tokens of %q, want acme's", name, got)
		}
	}
}

// If blocks cannot be read, that does not mean that there are none.
func TestWithoutTheBlocksNothingIsDone(t *testing.T) {
	c := newCity(t)
	c.create("acme/widgets")
	before := c.read()
	c.block(store.BlockedApp(), nil)
	c.Advance(50 * time.Minute)
	i := c.run(&mortal{})
	i.Store = blind{i.Store}
	if _, err := i.Refresh(t.Context(), "sb-1", true); !errors.Is(err, errBlind) {
		t.Errorf("Refresh = %v, want the store's error", err)
	}
	if err := i.RevokeBlocked(t.Context(), "sb-1"); !errors.Is(err, errBlind) {
		t.Errorf("RevokeBlocked = %v, want the store's error", err)
	}
	if got := c.read(); got != before || len(c.Tokens()) != 1 {
		t.Errorf("the workspace reads another token, and %d live, want the one of before", len(c.Tokens()))
	}
}

// What is blocked is revoked and deleted at once, and nothing else.
func TestWithdraw(t *testing.T) {
	for _, c := range []struct {
		name  string
		block func() (store.Name, error)
		want  []string
	}{
		{"nothing", func() (store.Name, error) { return store.Blocked("sb-10") }, []string{"Acme", "octo"}},
		{"one owner", func() (store.Name, error) { return store.BlockedOwner("octo") }, []string{"Acme"}},
		{"the workspace", func() (store.Name, error) { return store.Blocked("sb-1") }, nil},
		{"the App", func() (store.Name, error) { return store.BlockedApp(), nil }, nil},
	} {
		city := newCity(t)
		city.create("acme/widgets, octo/widgets")
		city.block(c.block())
		for range 2 { // again does nothing more
			if err := city.run(&mortal{}).RevokeBlocked(t.Context(), "sb-1"); err != nil {
				t.Fatalf("%s blocked: Withdraw = %v", c.name, err)
			}
			if got := city.owners(); len(got) != len(c.want) || len(city.Tokens()) != len(c.want) {
				t.Errorf("%s blocked: the workspace has tokens of %q and %d live, want %q", c.name, got, len(city.Tokens()), c.want)
			}
			city.checkLive(len(c.want), 0)
		}
	}
}

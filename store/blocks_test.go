package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// Blocks of different kinds are never taken for each other, whatever the names.
func TestBlocks(t *testing.T) {
	s := new(storetest.Memory)
	put := func(n store.Name, err error) {
		t.Helper()
		if err == nil {
			err = s.Put(t.Context(), n, store.NewSecret(time.Now().String()), store.Replace)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(store.Blocked("acme"))
	put(store.BlockedOwner("Octo"))
	put(store.BlockedToken([8]byte{0xab}, time.Time{}), nil)
	b, err := store.ReadBlocks(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		workspace, owner string
		want             bool
	}{
		{"acme", "", true}, {"acme", "anybody", true}, {"octo", "", false}, {"x", "acme", false}, {"x", "octo", true}, {"x", "OCTO", true}, {"app", "", false}, {"ab00000000000000", "", false},
	} {
		if got := b.Has(c.workspace, c.owner); got != c.want {
			t.Errorf("Has(%q, %q) = %v, want %v", c.workspace, c.owner, got, c.want)
		}
	}
	if !b.Tokens["ab00000000000000"] || b.App {
		t.Errorf("ReadBlocks = %+v, want the token's mark, and not the App", b)
	}
	put(store.BlockedApp(), nil)
	if b, err = store.ReadBlocks(t.Context(), s); err != nil || !b.Has("x", "y") {
		t.Errorf("with the App blocked: %+v, %v, want everybody blocked", b, err)
	}
	for _, login := range []string{"", "../x", "a/b", "a.b"} {
		if n, err := store.BlockedOwner(login); err == nil {
			t.Errorf("BlockedOwner(%q) = %s, want an error", login, n)
		}
	}
}

// What cannot be read is not the same as what blocks nobody.
func TestBlocksThatCannotBeReadAreAnError(t *testing.T) {
	s := new(storetest.Memory)
	if err := s.Put(t.Context(), store.BlockedApp(), store.NewSecret("x"), store.Replace); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := store.ReadBlocks(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadBlocks = %+v, %v, want the store's error", b, err)
	}
}

func TestBlocksWithoutOthers(t *testing.T) {
	set := func(key string) map[string]bool { return map[string]bool{key: true} }
	for name, b := range map[string]store.Blocks{
		"the App": {App: true}, "an owner": {Owners: set("a")}, "a workspace": {Workspaces: set("a")}, "a token": {Tokens: set("a")},
	} {
		others := store.Blocks{Owners: set("b"), Workspaces: set("b"), Tokens: set("b")}
		if b.IsEmpty() || b.Without(others).IsEmpty() {
			t.Errorf("%s: Without others = %+v, want it to stay", name, b.Without(others))
		}
		if rest := b.Without(b); !rest.IsEmpty() {
			t.Errorf("%s: Without itself = %+v, want nothing", name, rest)
		}
	}
	two := store.Blocks{Owners: set("a"), Workspaces: set("a"), Tokens: set("a")}
	if two.IsEmpty() || !two.Without(two).IsEmpty() || !store.NewBlocks().IsEmpty() {
		t.Errorf("IsEmpty of %+v and of none = %v, %v, want false, true", two, two.IsEmpty(), store.NewBlocks().IsEmpty())
	}
}

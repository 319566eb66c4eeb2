package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// Bars of different kinds are never taken for each other, whatever the names.
func TestBars(t *testing.T) {
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
	put(store.Barred("acme"))
	put(store.BarredOwner("Octo"))
	put(store.BarredToken([8]byte{0xab}, time.Time{}), nil)
	b, err := store.ReadBars(t.Context(), s)
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
		t.Errorf("ReadBars = %+v, want the token's mark, and not the App", b)
	}
	put(store.BarredApp(), nil)
	if b, err = store.ReadBars(t.Context(), s); err != nil || !b.Has("x", "y") {
		t.Errorf("with the App barred: %+v, %v, want everybody barred", b, err)
	}
	for _, login := range []string{"", "../x", "a/b", "a.b"} {
		if n, err := store.BarredOwner(login); err == nil {
			t.Errorf("BarredOwner(%q) = %s, want an error", login, n)
		}
	}
}

// What cannot be read is not the same as what bars nobody.
func TestBarsThatCannotBeReadAreAnError(t *testing.T) {
	s := new(storetest.Memory)
	if err := s.Put(t.Context(), store.BarredApp(), store.NewSecret("x"), store.Replace); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := store.ReadBars(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadBars = %+v, %v, want the store's error", b, err)
	}
}

func TestBarsWithoutOthers(t *testing.T) {
	set := func(key string) map[string]bool { return map[string]bool{key: true} }
	for name, b := range map[string]store.Bars{
		"the App": {App: true}, "an owner": {Owners: set("a")}, "a workspace": {Workspaces: set("a")}, "a token": {Tokens: set("a")},
	} {
		others := store.Bars{Owners: set("b"), Workspaces: set("b"), Tokens: set("b")}
		if b.IsEmpty() || b.Without(others).IsEmpty() {
			t.Errorf("%s: Without others = %+v, want it to stay", name, b.Without(others))
		}
		if rest := b.Without(b); !rest.IsEmpty() {
			t.Errorf("%s: Without itself = %+v, want nothing", name, rest)
		}
	}
	two := store.Bars{Owners: set("a"), Workspaces: set("a"), Tokens: set("a")}
	if two.IsEmpty() || !two.Without(two).IsEmpty() || !store.NewBars().IsEmpty() {
		t.Errorf("IsEmpty of %+v and of none = %v, %v, want false, true", two, two.IsEmpty(), store.NewBars().IsEmpty())
	}
}

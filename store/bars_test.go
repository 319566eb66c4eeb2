package store_test

import (
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/storetest"
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
	put(store.BarredToken([8]byte{0xab}), nil)
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
	if rest := b.Without(b); !rest.IsEmpty() || b.Without(store.Bars{}).IsEmpty() {
		t.Errorf("Without itself = %+v, want nothing", rest)
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

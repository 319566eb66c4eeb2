package store_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// forgetful is a store in which one record is deleted between its listing and its
// reading, and whose listing breaks off where breaks says so.
type forgetful struct {
	store.Store
	gone   store.Name
	breaks error
}

func (f forgetful) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	if n == f.gone {
		return store.Entry{}, store.ErrNotFound
	}
	return f.Store.Get(ctx, n)
}

func (f forgetful) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		for name, err := range f.Store.List(ctx, below) {
			if !yield(name, err) {
				return
			}
		}
		if f.breaks != nil {
			yield(store.Name{}, f.breaks)
		}
	}
}

func TestRecords(t *testing.T) {
	m := new(storetest.Memory)
	for _, text := range []string{"sandbox/a/workspace", "sandbox/b/workspace", "sandbox/c/workspace", "sandbox/a/github-token", "config/github/signer"} {
		n, err := store.ParseName(text)
		if err == nil {
			err = m.Put(t.Context(), n, store.NewSecret("of "+text), store.CreateOnly)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	gone, err := store.Record("b")
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the listing broke off")
	var got []string
	for e, err := range store.Records(t.Context(), forgetful{m, gone, broken}) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, e.Value.Reveal())
	}
	if want := []string{"of sandbox/a/workspace", "of sandbox/c/workspace", broken.Error()}; !slices.Equal(got, want) {
		t.Errorf("Records = %q, want %q", got, want)
	}
	n := 0
	for range store.Records(t.Context(), m) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("Records yields %d after it was told to stop, want 1", n)
	}
}

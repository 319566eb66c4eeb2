package split

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/faultinject"
	"github.com/gatepass/gatepass/test/storetest"
)

// ledgered is a store in memory whose records are found as any store's are.
type ledgered struct{ *storetest.Memory }

func (l ledgered) Records(ctx context.Context) iter.Seq2[store.NamedEntry, error] {
	return store.Records(ctx, storetest.Plain(l.Memory))
}

func TestStoreConforms(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() store.Store {
		main, tokens := ledgered{new(storetest.Memory)}, storetest.Plain(new(storetest.Memory))
		return func() store.Store { return New(main, tokens) }
	})
}

func token(t *testing.T) store.Name {
	t.Helper()
	name, err := store.Token("sb-1", "acme")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func names(t *testing.T, s store.Store) (all []string) {
	t.Helper()
	for name, err := range s.List(t.Context(), store.Everything()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name.String())
	}
	return all
}

// Only what a workspace reads leaves the main store.
func TestTokensAreInTheirStore(t *testing.T) {
	main, tokens := ledgered{new(storetest.Memory)}, new(storetest.Memory)
	s := New(main, tokens)
	want := []string{"sandbox/sb-1/github-token", "sandbox/sb-1/github-tokens/acme"}
	for _, text := range append([]string{
		"config/github/private-key", "sandbox/sb-1/workspace", "sandbox/sb-1/lock", "broker/barred/workspaces/sb-1",
		"sandbox/sb-1/superseded/0011223344556677", "sandbox/sb-1/vended/0011223344556677",
	}, want...) {
		name, err := store.ParseName(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), name, store.NewSecret("ghs_"+text), store.CreateOnly); err != nil {
			t.Fatalf("Put(%s) = %v", text, err)
		}
		entry, err := main.Get(t.Context(), name)
		if has := entry.Value.Reveal() == "ghs_"+text; err != nil || has == slices.Contains(want, text) {
			t.Errorf("the main store has %s: %v, %v", text, has, err)
		}
	}
	if got := names(t, tokens); !slices.Equal(got, want) {
		t.Errorf("the store of tokens has %q, want %q", got, want)
	}
	if got := names(t, s); len(got) != 8 {
		t.Errorf("List = %q, want all of both", got)
	}
	if err := s.Delete(t.Context(), token(t)); err != nil {
		t.Fatal(err)
	}
	if got := append(names(t, main), names(t, tokens)...); slices.Contains(got, want[1]) {
		t.Errorf("after Delete there are %q", got)
	}
}

// Whichever call fails or loses its answer: a token that is in its store is listed, and
// the next Put or Delete succeeds.
func TestNothingIsLeftUnlisted(t *testing.T) {
	for _, kind := range []string{faultinject.StoreDown, faultinject.StoreLost} {
		for _, inMain := range []bool{true, false} {
			for at := 1; at <= 3; at++ {
				for _, act := range []string{"create", "replace", "delete"} {
					t.Run(fmt.Sprintf("%s, call %d, main %v, %s", kind, at, inMain, act), func(t *testing.T) {
						leavesNothingUnlisted(t, &faultinject.Trouble{Kind: kind, At: at}, inMain, act)
					})
				}
			}
		}
	}
}

func leavesNothingUnlisted(t *testing.T, trouble *faultinject.Trouble, inMain bool, act string) {
	main, tokens := new(storetest.Memory), new(storetest.Memory)
	whole := New(ledgered{main}, tokens)
	name := token(t)
	if act != "create" {
		if err := whole.Put(t.Context(), name, store.NewSecret("ghs_old"), store.Replace); err != nil {
			t.Fatal(err)
		}
	}
	var s store.Store
	if inMain {
		s = New(failing{ledgered{main}, trouble}, tokens)
	} else {
		s = New(ledgered{main}, faultinject.Store{Store: tokens, Trouble: trouble})
	}
	do := func(s store.Store) error {
		if act == "delete" {
			return s.Delete(t.Context(), name)
		}
		return s.Put(t.Context(), name, store.NewSecret("ghs_new"), store.Replace)
	}
	_ = do(s)
	if _, err := tokens.Get(t.Context(), name); err == nil && !slices.Contains(names(t, whole), name.String()) {
		t.Error("the token is in its store and is not listed")
	}
	if err := do(whole); err != nil {
		t.Errorf("the next run = %v", err)
	}
	entry, err := whole.Get(t.Context(), name)
	if act == "delete" && (!errors.Is(err, store.ErrNotFound) || len(names(t, whole)) > 0) {
		t.Errorf("after Delete, Get = %v, List = %q", err, names(t, whole))
	}
	if act != "delete" && (err != nil || entry.Value.Reveal() != "ghs_new") {
		t.Errorf("Get = %q, %v, want the new token", entry.Value.Reveal(), err)
	}
}

// failing is a main store one of whose calls goes wrong.
type failing struct {
	ledgered
	*faultinject.Trouble
}

func (f failing) store() faultinject.Store {
	return faultinject.Store{Store: f.Memory, Trouble: f.Trouble}
}

func (f failing) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	return f.store().Get(ctx, name)
}

func (f failing) PutDue(ctx context.Context, name store.Name, value store.Secret, mode store.Mode, _ time.Time) error {
	return f.store().Put(ctx, name, value, mode)
}

func (f failing) Delete(ctx context.Context, name store.Name) error {
	return f.store().Delete(ctx, name)
}

// A run that is killed between mark and token leaves an entry that says so. destroy takes
// damaged tokens away, and would wait forever for one that is listed and not found.
func TestMarkWithoutToken(t *testing.T) {
	main, tokens := ledgered{new(storetest.Memory)}, new(storetest.Memory)
	s := New(main, tokens)
	if err := s.Put(t.Context(), token(t), store.NewSecret("ghs_x"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	if err := tokens.Delete(t.Context(), token(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), token(t)); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("Get = %v, want ErrDamaged", err)
	}
	if err := s.Put(t.Context(), token(t), store.NewSecret("ghs_x"), store.CreateOnly); !errors.Is(err, store.ErrExists) {
		t.Errorf("Put over it = %v, want ErrExists", err)
	}
	// Where tokens= is taken out of the URL again, the mark is not taken for a token.
	if token, err := credential.ParseToken([]byte(mark), time.Now()); err == nil {
		t.Errorf("ParseToken(mark) = %v, want an error", token)
	}
}

// A store that gets tokens= later has tokens of its own.
func TestTokensOfBefore(t *testing.T) {
	main, tokens := ledgered{new(storetest.Memory)}, new(storetest.Memory)
	if err := main.Put(t.Context(), token(t), store.NewSecret("ghs_before"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	s := New(main, tokens)
	if entry, err := s.Get(t.Context(), token(t)); err != nil || entry.Value.Reveal() != "ghs_before" {
		t.Errorf("Get = %q, %v, want the token of before", entry.Value.Reveal(), err)
	}
	if err := s.Put(t.Context(), token(t), store.NewSecret("ghs_x"), store.CreateOnly); !errors.Is(err, store.ErrExists) {
		t.Errorf("Put with CreateOnly = %v, want ErrExists", err)
	}
	if err := s.Put(t.Context(), token(t), store.NewSecret("ghs_after"), store.Replace); err != nil {
		t.Fatal(err)
	}
	for _, where := range []store.Store{s, tokens} {
		if entry, err := where.Get(t.Context(), token(t)); err != nil || entry.Value.Reveal() != "ghs_after" {
			t.Errorf("Get = %q, %v, want the new token", entry.Value.Reveal(), err)
		}
	}
	if entry, err := main.Get(t.Context(), token(t)); err != nil || !isMark(entry) {
		t.Errorf("the main store has %q, %v, want a mark", entry.Value.Reveal(), err)
	}
}

func TestDueHasTokensThemselves(t *testing.T) {
	main, tokens := ledgered{new(storetest.Memory)}, new(storetest.Memory)
	s := New(main, tokens)
	soon := time.Now().Add(time.Hour)
	if err := store.PutDue(t.Context(), s, token(t), store.NewSecret("ghs_x"), store.Replace, soon); err != nil {
		t.Fatal(err)
	}
	count := 0
	for e, err := range s.(store.Indexed).Due(t.Context(), store.Everything(), soon.Add(1), 0) {
		if count++; err != nil || e.Value.Reveal() != "ghs_x" {
			t.Errorf("Due yields %q, %v, want the token", e.Value.Reveal(), err)
		}
	}
	if count != 1 {
		t.Errorf("Due yields %d entries, want one", count)
	}
}

// A run that lost its place must not replace the token of the run that took it.
func TestTokensAreSwapped(t *testing.T) {
	main, tokens := ledgered{new(storetest.Memory)}, storetest.Plain(new(storetest.Memory))
	s := New(main, tokens)
	swap := func(value, version string) (string, error) {
		return s.(store.Swapper).Swap(t.Context(), token(t), store.NewSecret(value), version, time.Time{})
	}
	first, err := swap("ghs_first", "")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := s.Get(t.Context(), token(t))
	if err != nil || entry.Version != first || entry.Value.Reveal() != "ghs_first" {
		t.Fatalf("Get = version %q, %v, want %q", entry.Version, err, first)
	}
	if err := s.Put(t.Context(), token(t), store.NewSecret("ghs_second"), store.Replace); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{first, ""} {
		if _, err := swap("ghs_late", version); !errors.Is(err, store.ErrChanged) || strings.Contains(err.Error(), "ghs_") {
			t.Errorf("Swap of version %q = %v, want ErrChanged", version, err)
		}
	}
	if entry, err = s.Get(t.Context(), token(t)); err != nil || entry.Value.Reveal() != "ghs_second" {
		t.Errorf("Get = %q, %v, want what was put", entry.Value.Reveal(), err)
	}
	if _, err := swap("ghs_third", entry.Version); err != nil {
		t.Errorf("Swap of the version that is there = %v", err)
	}
}

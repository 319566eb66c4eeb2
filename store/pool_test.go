package store_test

import (
	"slices"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

func TestPoolNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"b": true, "second-app": true, "2": true, "": false, "B": false, "-b": false, "a.b": false, "a/b": false, "..": false, "a_b": false, "first": false,
		"abcdefghijklmnopqrstuvwxyz012345": true, "abcdefghijklmnopqrstuvwxyz0123456": false,
	} {
		if err := store.CheckApp(name); (err == nil) != ok {
			t.Errorf("CheckApp(%q) = %v, want fit: %v", name, err, ok)
		}
	}
}

func TestEachAppHasEntriesOfItsOwn(t *testing.T) {
	s := new(storetest.Memory)
	b, err := store.OfApp(s, "b")
	if err != nil {
		t.Fatal(err)
	}
	if first, err := store.OfApp(s, ""); err != nil || first != store.Store(s) {
		t.Errorf("the App without a name has %v, %v, want the store itself", first, err)
	}
	if _, err := store.OfApp(s, "../b"); err == nil {
		t.Error("a name that climbs out of its folder is taken")
	}
	acme, _ := store.Installation("acme")
	record, _ := store.Record("w1")
	for _, c := range []struct {
		name store.Name
		at   string
	}{
		{store.AppClientID(), "config/github/apps/b/app-client-id"},
		{store.PrivateKey(), "config/github/apps/b/private-key"},
		{store.Signer(), "config/github/apps/b/signer"},
		{acme, "config/github/apps/b/installations/acme"},
		{store.GitHubURL(), "config/github/apps/b/github-url"},
		{store.Probe(), "config/github/probe"},
		{record, "sandbox/w1/workspace"},
	} {
		if err := b.Put(t.Context(), c.name, store.NewSecret("of b"), store.CreateOnly); err != nil {
			t.Fatal(err)
		}
		at, err := store.ParseName(c.at)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := s.Get(t.Context(), at); err != nil || e.Value.Reveal() != "of b" {
			t.Errorf("%s of the App b is not at %s: %v", c.name, c.at, err)
		}
		if e, err := b.Get(t.Context(), c.name); err != nil || e.Value.Reveal() != "of b" {
			t.Errorf("%s cannot be read again: %v", c.name, err)
		}
	}
	if got := listed(t, b, store.Installations()); !slices.Equal(got, []string{"config/github/installations/acme"}) {
		t.Errorf("b's installations are %q", got)
	}
	if got := listed(t, s, store.Installations()); len(got) != 0 {
		t.Errorf("the first App's installations are %q, want none", got)
	}
	if err := b.Delete(t.Context(), acme); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, b, store.Installations()); len(got) != 0 {
		t.Errorf("b's installations are %q after the deletion", got)
	}
}

func listed(t *testing.T, s store.Store, below store.Prefix) []string {
	t.Helper()
	var names []string
	for name, err := range s.List(t.Context(), below) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.String())
	}
	return names
}

func TestAPoolIsKeptOnOneLine(t *testing.T) {
	s := new(storetest.Memory)
	pool := func() []string {
		t.Helper()
		names, err := store.PoolApps(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if got := pool(); got != nil {
		t.Errorf("a store with one App has the pool %q", got)
	}
	for _, want := range [][]string{{"b"}, {"b", "c"}, {}} {
		if err := store.SetPoolApps(t.Context(), s, want); err != nil {
			t.Fatal(err)
		}
		if got := pool(); !slices.Equal(got, want) {
			t.Errorf("the pool is %q, want %q", got, want)
		}
	}
	if err := store.SetPoolApps(t.Context(), s, []string{"b c"}); err == nil {
		t.Error("a name with a space is taken")
	}
	if err := s.Put(t.Context(), store.Pool(), store.NewSecret("b ../c"), store.Replace); err != nil {
		t.Fatal(err)
	}
	if names, err := store.PoolApps(t.Context(), s); err == nil {
		t.Errorf("a name that climbs out is read as %q", names)
	}
}

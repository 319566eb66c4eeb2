package issuing

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func on(login string, id int64) mint.Installation {
	return mint.Installation{ID: id, Account: mint.Account{Login: login}, TargetType: "Organization", Selection: "all"}
}

func suspended(i mint.Installation) mint.Installation {
	i.SuspendedAt = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return i
}

// stored returns the store's entry for a login, in its spelling.
func stored(t testing.TB, login string, id int64) Stored {
	t.Helper()
	name, err := store.ParseName("config/github/installations/" + login)
	if err != nil {
		t.Fatal(err)
	}
	return Stored{name, id}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name   string
		found  []mint.Installation
		stored []Stored
		want   []string // account, state, note
	}{
		{"nothing anywhere", nil, nil, nil},
		{"an account the store does not know", []mint.Installation{on("acme", 1)}, nil, []string{"acme new"}},
		{"one that it knows", []mint.Installation{on("acme", 1)}, []Stored{stored(t, "acme", 1)}, []string{"acme known"}},
		{"in GitHub's case", []mint.Installation{on("Acme", 1)}, []Stored{stored(t, "acme", 1)}, []string{"Acme known"}},
		{"another id", []mint.Installation{on("acme", 2)}, []Stored{stored(t, "acme", 1)}, []string{"acme changed the store has 1"}},
		{"no id at all", []mint.Installation{on("acme", 2)}, []Stored{stored(t, "acme", 0)}, []string{"acme changed the store has no id"}},
		{"an account without the App", nil, []Stored{stored(t, "acme", 1)}, []string{"acme stale GitHub has no installation there"}},
		{
			"an account that was renamed",
			[]mint.Installation{on("acme-corp", 1)},
			[]Stored{stored(t, "acme", 1)},
			[]string{"acme stale the installation is on acme-corp now", "acme-corp new"},
		},
		{
			"two accounts that changed names",
			[]mint.Installation{on("a", 2), on("b", 1)},
			[]Stored{stored(t, "a", 1), stored(t, "b", 2)},
			[]string{"a changed the store has 1", "b changed the store has 2"},
		},
		{
			"an entry of the first system, in GitHub's case",
			[]mint.Installation{on("Acme", 1)},
			[]Stored{stored(t, "Acme", 1)},
			[]string{"Acme stale it is written acme now", "Acme new"},
		},
		{"a suspended one", []mint.Installation{suspended(on("acme", 1))}, nil, []string{"acme suspended since 2026-03-04"}},
		{"a suspended one in the store", []mint.Installation{suspended(on("acme", 1))}, []Stored{stored(t, "acme", 1)}, []string{"acme suspended since 2026-03-04"}},
		{
			"a suspended one with another id",
			[]mint.Installation{suspended(on("acme", 1))},
			[]Stored{stored(t, "acme", 5)},
			[]string{"acme suspended since 2026-03-04; the store has 5"},
		},
		{"an enterprise", []mint.Installation{on("", 1)}, nil, []string{" unusable its account cannot have repositories"}},
		{
			"many, in any order",
			[]mint.Installation{on("c", 3), on("B", 2), on("a", 1)},
			[]Stored{stored(t, "d", 4), stored(t, "b", 2)},
			[]string{"a new", "B known", "c new", "d stale GitHub has no installation there"},
		},
	} {
		var got []string
		for _, s := range Compare(c.found, c.stored) {
			got = append(got, strings.TrimRight(fmt.Sprintf("%s %s %s", s.Account, s.State, s.Note), " "))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: Compare = %q, want %q", c.name, got, c.want)
		}
	}
}

// FuzzCompare checks that no login from outside leads out of the folder.
func FuzzCompare(f *testing.F) {
	f.Add("acme", int64(1), "acme", int64(2))
	f.Add("../private-key", int64(1), "Acme", int64(1))
	f.Add("", int64(0), "x", int64(0))
	f.Fuzz(func(t *testing.T, login string, id int64, kept string, keptID int64) {
		var entries []Stored
		if name, err := store.ParseName("config/github/installations/" + kept); err == nil && !strings.Contains(kept, "/") {
			entries = []Stored{{name, keptID}}
		}
		for _, s := range Compare([]mint.Installation{on(login, id)}, entries) {
			if s.State != Unusable && !store.Installations().Has(s.name) {
				t.Errorf("Compare(%q, %q) writes to %q", login, kept, s.name)
			}
		}
	})
}

// put fills a store in ways that gatepass never does.
func put(t *testing.T, s store.Store, entries map[string]string) {
	t.Helper()
	for text, value := range entries {
		name, err := store.ParseName(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), name, store.NewSecret(value), store.Replace); err != nil {
			t.Fatal(err)
		}
	}
}

// entries returns all entries of a store.
func entries(t *testing.T, s store.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, err := range s.List(t.Context(), store.Everything()) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := s.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		all[name.String()] = e.Value.Reveal()
	}
	return all
}

const folder = "config/github/installations/"

func TestDiscoverSettlesAsFarAsItMay(t *testing.T) {
	for _, c := range []struct {
		name string
		may  Changes
		want map[string]string
	}{
		{"adding only", Changes{}, map[string]string{"new": "1", "known": "2", "changed": "33", "broken": "x", "gone": "4", "asleep": "5"}},
		{"replacing", Changes{Replace: true}, map[string]string{"new": "1", "known": "2", "changed": "3", "broken": "6", "gone": "4", "asleep": "5"}},
		{"removing", Changes{Remove: true}, map[string]string{"new": "1", "known": "2", "changed": "33", "broken": "x", "asleep": "5"}},
		{"both", Changes{true, true}, map[string]string{"new": "1", "known": "2", "changed": "3", "broken": "6", "asleep": "5"}},
	} {
		w := newWorld(t)
		for login, id := range map[string]int64{"New": 1, "known": 2, "changed": 3, "broken": 6, "asleep": 5, "tired": 7} {
			w.install(login, id, login == "asleep" || login == "tired")
		}
		before := map[string]string{"known": "2\n", "changed": "33", "broken": "x", "gone": "4", "asleep": "5"}
		for login, id := range before {
			put(t, w.store, map[string]string{folder + login: id})
		}
		put(t, w.store, map[string]string{"config/github/installation-id": "4"})
		if _, err := Discover(t.Context(), w.store, w.app.App, c.may); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"config/github/installation-id": "4"}
		for login, id := range c.want {
			want[folder+login] = id
		}
		got := entries(t, w.store)
		for name, value := range got {
			got[name] = strings.TrimSpace(value)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: the store has %v, want %v", c.name, got, want)
		}
	}
}

// gatepass's predecessor read one page, and took everything else for deleted.
func TestDiscoverReadsEveryPage(t *testing.T) {
	w := newWorld(t)
	for n := range 150 {
		w.install(fmt.Sprintf("org-%03d", n), 0, n == 149)
	}
	all, err := Discover(t.Context(), w.store, w.app.App, Changes{})
	if err != nil || len(all) != 150 || len(entries(t, w.store)) != 149 {
		t.Errorf("Discover = %d, %v with %d entries, want 150 and all but the suspended one kept", len(all), err, len(entries(t, w.store)))
	}
	again, err := Discover(t.Context(), w.store, w.app.App, Changes{true, true})
	if err != nil || slices.ContainsFunc(again, func(s AccountState) bool { return s.State != Known && s.State != Suspended }) {
		t.Errorf("a second Discover = %v, want nothing left to do", err)
	}
}

func TestAListThatBreaksOffChangesNothing(t *testing.T) {
	w := newWorld(t)
	for n := range 150 {
		w.install(fmt.Sprintf("org-%03d", n), 0, false)
	}
	before := map[string]string{folder + "org-149": "1", folder + "gone": "2"}
	put(t, w.store, before)
	second := func(r *http.Request) bool { return r.URL.Query().Get("page") == "2" }
	w.Fail(second, fakegithub.Status(http.StatusNotFound), -1)
	all, err := Discover(t.Context(), w.store, w.app.App, Changes{true, true})
	if err == nil || all != nil || !maps.Equal(entries(t, w.store), before) {
		t.Errorf("Discover = %d states, %v, with %v in the store, want an error and the store as it was", len(all), err, entries(t, w.store))
	}
}

// unlisted is a store whose list breaks off.
type unlisted struct{ store.Store }

func (u unlisted) List(context.Context, store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) { yield(store.Name{}, errors.New("throttled")) }
}

func TestAStoreThatFailsLosesNothing(t *testing.T) {
	w := newWorld(t)
	w.install("acme", 1, false)
	before := map[string]string{folder + "gone": "2"}
	put(t, w.store, before)
	acme, err := store.Installation("acme")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]store.Store{"a write that fails": failing{Store: w.store, name: acme}, "a list that breaks off": unlisted{w.store}} {
		if _, err := Discover(t.Context(), s, w.app.App, Changes{true, true}); err == nil || !maps.Equal(entries(t, w.store), before) {
			t.Errorf("%s: Discover = %v, with %v in the store, want an error and the store as it was", name, err, entries(t, w.store))
		}
	}
}

func TestOnlyKnowsASuspendedOne(t *testing.T) {
	w := newWorld(t)
	put(t, w.store, map[string]string{folder + "acme": "1"})
	for _, c := range []struct {
		name string
		in   mint.Installation
		want string
	}{
		{"known", on("Acme", 1), "known 1 "},
		{"another id", on("ACME", 2), "changed 1 the store has 1"},
		{"new", on("globex", 3), "new 0 "},
		{"suspended", suspended(on("globex", 3)), "new 0 suspended since 2026-03-04, so no token can be minted"},
	} {
		s, err := CompareOne(t.Context(), w.store, c.in)
		if got := fmt.Sprintf("%s %d %s", s.State, s.Stored, s.Note); err != nil || got != c.want {
			t.Errorf("%s: Only = %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	if s, err := CompareOne(t.Context(), w.store, on("", 9)); err == nil {
		t.Errorf("CompareOne of an enterprise's = %+v, want an error", s)
	}
}

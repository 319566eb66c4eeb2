package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

var dueTests = []test{
	{"what is due comes in order", dueComesInOrder},
	{"each write says anew when an entry is due", writesSayWhenDue},
	{"what is due may be changed meanwhile", dueMayChange},
}

func indexed(s store.Store) store.Indexed { return s.(store.Indexed) }

// noon is the reference time of these tests. Stores may store times in whole seconds.
var noon = time.Date(2031, time.May, 5, 12, 0, 0, 0, time.UTC)

func minutes(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }

func putDue(t *testing.T, s store.Store, name string, due time.Time) {
	t.Helper()
	if err := indexed(s).PutDue(t.Context(), named(t, name), store.NewSecret("of "+name), store.Replace, due); err != nil {
		t.Fatalf("PutDue(%s) = %v", name, err)
	}
}

func checkDue(t *testing.T, s store.Store, below store.Prefix, before time.Time, limit int, want ...string) {
	t.Helper()
	var got []string
	for e, err := range indexed(s).Due(t.Context(), below, before, limit) {
		if err != nil {
			t.Fatalf("Due = %v", err)
		}
		got = append(got, e.Name.String())
		if e.Value.Reveal() == "" || e.Modified.IsZero() {
			t.Errorf("Due yields %s without its value or date", e.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Due(%s, %s, %d) = %q, want %q", below, before.Format(time.TimeOnly), limit, got, want)
	}
}

func dueComesInOrder(t *testing.T, open func() store.Store) {
	s := open()
	for i, name := range []string{"sandbox/c/workspace", "sandbox/a/workspace", "sandbox/b/workspace", "sandbox/b/lock", "broker/spent/x"} {
		putDue(t, s, name, minutes(i))
	}
	put(t, s, "sandbox/never/workspace", "x")
	putDue(t, s, "sandbox/never/lock", time.Time{})
	s = open()
	checkDue(t, s, store.Workspaces(), minutes(0), 0)
	checkDue(t, s, store.Workspaces(), minutes(2), 0, "sandbox/c/workspace", "sandbox/a/workspace")
	checkDue(t, s, store.Workspaces(), minutes(60), 3, "sandbox/c/workspace", "sandbox/a/workspace", "sandbox/b/workspace")
	checkDue(t, s, store.Everything(), minutes(60), 0, "sandbox/c/workspace", "sandbox/a/workspace", "sandbox/b/workspace", "sandbox/b/lock", "broker/spent/x")
	checkDue(t, s, store.UsedProofs(), minutes(60), 0, "broker/spent/x")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for e, err := range indexed(s).Due(ended, store.Everything(), minutes(60), 0) {
		if err == nil {
			t.Errorf("Due yields %s in a context that has ended, want an error", e.Name)
		}
	}
}

func writesSayWhenDue(t *testing.T, open func() store.Store) {
	s := open()
	const name = "sandbox/w1/workspace"
	putDue(t, s, name, minutes(1))
	putDue(t, s, name, minutes(10))
	checkDue(t, s, store.Everything(), minutes(5), 0)
	checkDue(t, s, store.Everything(), minutes(11), 0, name)
	put(t, s, name, "x")
	checkDue(t, s, store.Everything(), minutes(60), 0)
	putDue(t, s, name, minutes(1))
	err := indexed(s).PutDue(t.Context(), named(t, name), store.NewSecret("x"), store.CreateOnly, minutes(30))
	checkError(t, err, store.ErrExists)
	checkDue(t, s, store.Everything(), minutes(5), 0, name)
	if err := s.Delete(t.Context(), named(t, name)); err != nil {
		t.Fatal(err)
	}
	checkDue(t, s, store.Everything(), minutes(60), 0)
	if err := indexed(s).PutDue(t.Context(), named(t, name), store.NewSecret("x"), store.CreateOnly, minutes(3)); err != nil {
		t.Fatal(err)
	}
	checkDue(t, s, store.Everything(), minutes(5), 0, name)
	if _, ok := s.(store.Swapper); ok {
		swapsSayWhenDue(t, s, name)
	}
}

func swapsSayWhenDue(t *testing.T, s store.Store, name string) {
	t.Helper()
	version, err := swapper(s).Swap(t.Context(), named(t, name), store.NewSecret("y"), versionOf(t, s, name), minutes(20))
	if err != nil {
		t.Fatal(err)
	}
	checkDue(t, s, store.Everything(), minutes(5), 0)
	checkDue(t, s, store.Everything(), minutes(21), 0, name)
	for e, err := range indexed(s).Due(t.Context(), store.Everything(), minutes(21), 0) {
		if err != nil || e.Version != version {
			t.Errorf("Due yields version %q, %v, want %q", e.Version, err, version)
		}
	}
	swap(t, s, name, "z", version)
	checkDue(t, s, store.Everything(), minutes(60), 0)
}

// A round deletes due entries, or writes them with another time, during the iteration.
func dueMayChange(t *testing.T, open func() store.Store) {
	s := open()
	const n = 53
	for i := range n {
		putDue(t, s, fmt.Sprintf("sandbox/w%02d/workspace", i), minutes(i/20)) // many at the same moment
	}
	seen := map[store.Name]int{}
	for e, err := range indexed(s).Due(t.Context(), store.Workspaces(), minutes(60), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[e.Name]++; len(seen)%2 == 0 {
			putDue(t, s, e.Name.String(), minutes(90))
		} else if err := s.Delete(t.Context(), e.Name); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != n {
		t.Errorf("Due yields %d entries, want %d", len(seen), n)
	}
	for name, times := range seen {
		if times != 1 {
			t.Errorf("Due yields %s %d times, want once", name, times)
		}
	}
	for range indexed(s).Due(t.Context(), store.Workspaces(), minutes(120), 0) {
		break // leaving early is allowed
	}
}

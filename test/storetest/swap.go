package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

var swapTests = []test{
	{"swap writes what has not changed", swapWrites},
	{"swap makes an entry once", swapMakes},
	{"every write is another version", writesAreVersions},
	{"of many that swap one wins", oneSwaps},
	{"swap refuses what no store keeps", swapRefusesOdd},
	{"records have the version that swap takes", recordsHaveVersions},
}

func swapper(s store.Store) store.Swapper { return s.(store.Swapper) }

// swap swaps or fails the test. The entry has no due time.
func swap(t *testing.T, s store.Store, name, value, version string) string {
	t.Helper()
	next, err := swapper(s).Swap(t.Context(), named(t, name), store.NewSecret(value), version, time.Time{})
	if err != nil {
		t.Fatalf("Swap(%s) = %v", name, err)
	}
	return next
}

// refuseSwap tries a swap, which must change nothing.
func refuseSwap(t *testing.T, s store.Store, name, version string) {
	t.Helper()
	_, err := swapper(s).Swap(t.Context(), named(t, name), store.NewSecret(secret), version, time.Time{})
	checkError(t, err, store.ErrChanged)
}

func versionOf(t *testing.T, s store.Store, name string) string {
	t.Helper()
	e, err := s.Get(t.Context(), named(t, name))
	if err != nil || e.Version == "" {
		t.Fatalf("Get(%s) = version %q, %v, want a version", name, e.Version, err)
	}
	return e.Version
}

func swapWrites(t *testing.T, open func() store.Store) {
	s, other := open(), open()
	const name = "sandbox/w1/workspace"
	put(t, s, name, "first")
	first := versionOf(t, s, name)
	second := swap(t, other, name, "second", first)
	checkValue(t, s, name, "second")
	if got := versionOf(t, s, name); got != second || second == first {
		t.Errorf("versions = %q, %q and by Get %q, want two, and the second", first, second, got)
	}
	refuseSwap(t, s, name, first)
	checkValue(t, s, name, "second")
	third := swap(t, s, name, "third", second)
	refuseSwap(t, s, name, second)
	refuseSwap(t, s, name, "")
	refuseSwap(t, s, name, third+"0")
	refuseSwap(t, s, name, "no version")
	refuseSwap(t, s, name, "0")
	checkValue(t, other, name, "third")
}

func swapMakes(t *testing.T, open func() store.Store) {
	s := open()
	const name = "sandbox/w1/workspace"
	refuseSwap(t, s, name, "1")
	first := swap(t, s, name, "first", "")
	refuseSwap(t, s, name, "")
	checkValue(t, s, name, "first")
	if err := s.Delete(t.Context(), named(t, name)); err != nil {
		t.Fatal(err)
	}
	refuseSwap(t, s, name, first)
	_, err := s.Get(t.Context(), named(t, name))
	checkError(t, err, store.ErrNotFound)
	again := swap(t, s, name, "first", "")
	if again == first {
		t.Errorf("made again, the version is %q as before, want another", again)
	}
	refuseSwap(t, s, name, first)
	checkValue(t, s, name, "first")
}

func writesAreVersions(t *testing.T, open func() store.Store) {
	s := open()
	const name = "sandbox/w1/workspace"
	seen := map[string]bool{}
	for i := range 12 {
		switch {
		case i%4 == 3:
			swap(t, s, name, "the same", versionOf(t, s, name))
		case i%4 == 2:
			if err := s.Delete(t.Context(), named(t, name)); err != nil {
				t.Fatal(err)
			}
			fallthrough
		default:
			put(t, s, name, "the same")
		}
		version := versionOf(t, s, name)
		if seen[version] {
			t.Fatalf("after write %d the version is %q as before, want another", i, version)
		}
		seen[version] = true
	}
}

func oneSwaps(t *testing.T, open func() store.Store) {
	const n, rounds = 20, 4
	const name = "sandbox/w1/workspace"
	stores := make([]store.Store, n)
	for i := range stores {
		stores[i] = open()
	}
	version := ""
	for round := range rounds {
		errs, next := make([]error, n), make([]string, n)
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() {
				value := store.NewSecret(fmt.Sprint(round, " of ", i))
				next[i], errs[i] = swapper(s).Swap(t.Context(), named(t, name), value, version, time.Time{})
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			if err == nil && winner < 0 {
				winner = i
				continue
			}
			checkError(t, err, store.ErrChanged)
		}
		if winner < 0 {
			t.Fatalf("round %d: no writer won", round)
		}
		checkValue(t, stores[0], name, fmt.Sprint(round, " of ", winner))
		if version = next[winner]; version != versionOf(t, stores[0], name) {
			t.Errorf("round %d: the winner's version %q is not the entry's", round, version)
		}
	}
}

func swapRefusesOdd(t *testing.T, open func() store.Store) {
	s := open()
	name := named(t, "sandbox/w1/workspace")
	try := func(ctx context.Context, name store.Name, value string) {
		t.Helper()
		_, err := swapper(s).Swap(ctx, name, store.NewSecret(value), "", time.Time{})
		if err == nil || errors.Is(err, store.ErrChanged) || strings.Contains(err.Error(), secret) {
			t.Errorf("Swap of %d bytes to %q = %v, want a refusal without the value", len(value), name, err)
		}
	}
	for _, value := range []string{"", "a\xff", "a\x00b", strings.Repeat(secret, 300)} {
		try(t.Context(), name, value)
	}
	try(t.Context(), store.Name{}, "x")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	try(ended, name, "x")
	_, err := s.Get(t.Context(), name)
	checkError(t, err, store.ErrNotFound)
}

func recordsHaveVersions(t *testing.T, open func() store.Store) {
	s := open()
	for _, id := range []string{"w1", "w2", "w3"} {
		put(t, s, "sandbox/"+id+"/workspace", id)
	}
	n := 0
	for e, err := range store.Records(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		swap(t, s, e.Name.String(), "swapped", e.Version)
	}
	if n != 3 {
		t.Errorf("Records yields %d, want 3", n)
	}
}

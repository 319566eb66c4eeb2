package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// eachKind runs a test on a store that compares, and on one that does not.
func eachKind(t *testing.T, test func(t *testing.T, m *storetest.Memory, s store.Store)) {
	t.Helper()
	for name, of := range map[string]func(*storetest.Memory) store.Store{
		"a store that compares": func(m *storetest.Memory) store.Store { return m },
		"one that does not":     func(m *storetest.Memory) store.Store { return storetest.Plain(m) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := new(storetest.Memory)
				test(t, m, of(m))
			})
		})
	}
}

func leaseOf(s store.Store, holder string) *store.Lease {
	return &store.Lease{Store: s, Name: store.Upkeep(), Holder: holder, Duration: time.Minute}
}

func hold(t *testing.T, l *store.Lease, note string, want bool) {
	t.Helper()
	got, err := l.Hold(t.Context(), note)
	if got != want || err != nil || l.IsHeld() != want {
		t.Errorf("%s: Hold = %v, %v, and IsHeld = %v, want %v", l.Holder, got, err, l.IsHeld(), want)
	}
}

// One of two has the lease, for as long as it extends it. The other takes it when it has
// run out, and reads how far the first got.
func TestALeaseIsOfOne(t *testing.T) {
	eachKind(t, func(t *testing.T, _ *storetest.Memory, s store.Store) {
		one, two := leaseOf(s, "one"), leaseOf(s, "two")
		hold(t, one, "", true)
		hold(t, two, "", false)
		for _, note := range []string{"a", "b", "c"} {
			time.Sleep(40 * time.Second)
			hold(t, one, note, true)
			hold(t, two, "other", false)
		}
		if two.Left() != time.Minute {
			t.Errorf("two is told that the lease is free in %s, want a minute", two.Left())
		}
		time.Sleep(time.Minute)
		if one.IsHeld() {
			t.Error("one has a lease that has run out")
		}
		hold(t, two, "", true)
		if two.Note() != "c" {
			t.Errorf("the note is %q, want the last of one", two.Note())
		}
		hold(t, one, "late", false)
	})
}

// A program that ends gives the lease to the next, which does not wait.
func TestALeaseIsReleased(t *testing.T) {
	eachKind(t, func(t *testing.T, m *storetest.Memory, s store.Store) {
		one, two := leaseOf(s, "one"), leaseOf(s, "two")
		hold(t, one, "", true)
		hold(t, two, "", false)
		if err := two.Release(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		hold(t, one, "half", true)
		if err := one.Release(t.Context(), "done"); err != nil || one.IsHeld() {
			t.Fatalf("Release = %v, and it is held: %v", err, one.IsHeld())
		}
		hold(t, two, "", true)
		if two.Note() != "done" {
			t.Errorf("the note is %q, want done", two.Note())
		}
		m.Damage(store.Upkeep())
		again := leaseOf(s, "three")
		hold(t, again, "", true)
	})
}

// Of many that find it free, one has it.
func TestManyWantALease(t *testing.T) {
	eachKind(t, func(t *testing.T, _ *storetest.Memory, s store.Store) {
		hold(t, leaseOf(s, "dead"), "note", true)
		time.Sleep(2 * time.Minute)
		var mu sync.Mutex
		var held []string
		var all sync.WaitGroup
		for _, holder := range []string{"a", "b", "c", "d", "e"} {
			all.Go(func() {
				if got, _ := leaseOf(s, holder).Hold(t.Context(), ""); got {
					mu.Lock()
					defer mu.Unlock()
					held = append(held, holder)
				}
			})
		}
		all.Wait()
		if len(held) != 1 {
			t.Errorf("%q have the lease, want one", held)
		}
	})
}

// A store that fails neither ends a lease early nor gives it to another program.
func TestALeaseOfAStoreThatFails(t *testing.T) {
	eachKind(t, func(t *testing.T, _ *storetest.Memory, s store.Store) {
		one := leaseOf(s, "one")
		hold(t, one, "", true)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if held, err := one.Hold(gone, "x"); !held || !errors.Is(err, context.Canceled) {
			t.Errorf("Hold = %v, %v, want it held and the error", held, err)
		}
		if held, err := leaseOf(s, "two").Hold(gone, ""); held || err == nil {
			t.Errorf("Hold = %v, %v, want an error", held, err)
		}
		time.Sleep(time.Minute)
		if held, err := one.Hold(gone, "x"); held || err == nil {
			t.Errorf("Hold = %v, %v after its end, want an error", held, err)
		}
		hold(t, one, "", true)
	})
}

// A clock that is far ahead keeps the lease from others for one Duration, not for a year.
func TestALeaseOfAClockThatIsWrong(t *testing.T) {
	eachKind(t, func(t *testing.T, _ *storetest.Memory, s store.Store) {
		ahead := leaseOf(s, "ahead")
		ahead.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) }
		hold(t, ahead, "", true)
		two := leaseOf(s, "two")
		hold(t, two, "", false)
		if two.Left() != time.Minute {
			t.Errorf("it is free in %s, want a minute", two.Left())
		}
		time.Sleep(time.Minute)
		hold(t, two, "", true)
	})
}

var errLost = errors.New("the connection was lost")

// losing is a store that loses the answer to a write, and the write as well
// unless isWritten, and every read if isBlind.
type losing struct {
	store.Store
	isWritten, isBlind bool
}

func (l losing) Put(ctx context.Context, n store.Name, value store.Secret, mode store.Mode) error {
	if l.isWritten {
		if err := l.Store.Put(ctx, n, value, mode); err != nil {
			return err
		}
	}
	return errLost
}

func (l losing) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	if l.isBlind {
		return store.Entry{}, errLost
	}
	return l.Store.Get(ctx, n)
}

func TestClaim(t *testing.T) {
	for _, c := range []struct {
		name    string
		isTaken bool
		through func(store.Store) store.Store
		won     bool
		fails   bool
	}{
		{"the first", false, func(s store.Store) store.Store { return s }, true, false},
		{"the second", true, func(s store.Store) store.Store { return s }, false, false},
		{"whose answer was lost", false, func(s store.Store) store.Store { return losing{s, true, false} }, true, false},
		{"whose write was lost", false, func(s store.Store) store.Store { return losing{s, false, false} }, false, true},
		{"whose write was lost, and another had it", true, func(s store.Store) store.Store { return losing{s, false, false} }, false, false},
		{"who cannot look", false, func(s store.Store) store.Store { return losing{s, true, true} }, false, true},
	} {
		s := new(storetest.Memory)
		name, until := store.Redeemed([32]byte{1}), time.Now().Add(time.Hour)
		if c.isTaken {
			if won, err := store.Claim(t.Context(), s, name, until); !won || err != nil {
				t.Fatalf("Claim = %v, %v, want to win", won, err)
			}
		}
		won, err := store.Claim(t.Context(), c.through(s), name, until)
		if won != c.won || (err != nil) != c.fails {
			t.Errorf("%s: Claim = %v, %v, want %v and an error: %v", c.name, won, err, c.won, c.fails)
		}
		entry, err := s.Get(t.Context(), name)
		if errors.Is(err, store.ErrNotFound) {
			continue // it was lost
		}
		if got, untilErr := store.ClaimedUntil(entry); err != nil || untilErr != nil || !got.Equal(until) {
			t.Errorf("%s: ClaimedUntil = %v, %v %v, want %v", c.name, got, err, untilErr, until)
		}
	}
}

// A claim that is not deleted is found by its end.
func TestClaimsAreDueWhenTheyAreOver(t *testing.T) {
	s := new(storetest.Memory)
	name, until := store.UsedProof([32]byte{1}), time.Now().Add(time.Hour)
	if won, err := store.Claim(t.Context(), s, name, until); !won || err != nil {
		t.Fatalf("Claim = %v, %v, want to win", won, err)
	}
	for after, want := range map[time.Duration]int{0: 0, store.ClaimGrace + time.Second: 1} {
		n := 0
		for e, err := range s.Due(t.Context(), store.Everything(), until.Add(after), 0) {
			if err != nil || e.Name != name {
				t.Errorf("Due yields %s, %v, want %s", e.Name, err, name)
			}
			n++
		}
		if n != want {
			t.Errorf("%v after its end %d claims are due, want %d", after, n, want)
		}
	}
}

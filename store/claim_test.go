package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

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
	name, until := store.Spent([32]byte{1}), time.Now().Add(time.Hour)
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

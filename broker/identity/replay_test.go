package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

var (
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	end   = start.Add(time.Minute)
)

func TestOneOfAllReplicasTakesAProof(t *testing.T) {
	memory := new(storetest.Memory)
	replicas := []*ReplayCache{{Store: memory}, {Store: memory}, {Store: memory}}
	for n := range 50 {
		var taken atomic.Int32
		var wg sync.WaitGroup
		for _, s := range replicas {
			wg.Go(func() {
				switch err := s.MarkUsed(t.Context(), "x", fmt.Sprint(n), end, start); {
				case err == nil:
					taken.Add(1)
				case !errors.Is(err, ErrUsed):
					t.Errorf("MarkUsed = %v", err)
				}
			})
		}
		wg.Wait()
		if taken.Load() != 1 {
			t.Fatalf("%d replicas take a proof, want one", taken.Load())
		}
	}
	restarted := &ReplayCache{Store: memory}
	if err := restarted.MarkUsed(t.Context(), "x", "7", end, start); !errors.Is(err, ErrUsed) {
		t.Errorf("after a restart: MarkUsed = %v, want ErrUsed", err)
	}
	if err := restarted.MarkUsed(t.Context(), "y", "7", end, start); err != nil {
		t.Errorf("the same text of another kind: MarkUsed = %v", err)
	}
}

// nowhere is a store that does not answer.
type nowhere struct{ store.Store }

var errNowhere = errors.New("the store does not answer")

func (nowhere) Put(context.Context, store.Name, store.Secret, store.Mode) error { return errNowhere }

func (nowhere) Get(context.Context, store.Name) (store.Entry, error) {
	return store.Entry{}, errNowhere
}

func TestNothingIsTakenWithoutTheStore(t *testing.T) {
	for name, s := range map[string]*ReplayCache{"that does not answer": {Store: nowhere{}}, "that is not there": {}} {
		err := s.MarkUsed(t.Context(), "x", "1", end, start)
		if r, ok := errors.AsType[*broker.Refusal](err); !ok || r.Status != http.StatusServiceUnavailable || r.RetryAfter == 0 {
			t.Errorf("a store %s: MarkUsed = %v, want 503 with when to try again", name, err)
		}
	}
}

// A proof that this broker knows to be used is refused as used, also while the store is
// down.
func TestASpentProofNeedsNoStore(t *testing.T) {
	s := &ReplayCache{Store: new(storetest.Memory)}
	if err := s.MarkUsed(t.Context(), "x", "1", end, start); err != nil {
		t.Fatal(err)
	}
	s.Store = nowhere{}
	if err := s.MarkUsed(t.Context(), "x", "1", end, end.Add(-1)); !errors.Is(err, ErrUsed) {
		t.Errorf("MarkUsed = %v, want ErrUsed", err)
	}
}

// For proofs that were dropped from memory the store is asked again.
func TestMemoryIsBounded(t *testing.T) {
	s := &ReplayCache{Store: new(storetest.Memory)}
	for n := range maxKnown {
		s.remember(sha256.Sum256(fmt.Append(nil, n)), end, start)
	}
	if err := s.MarkUsed(t.Context(), "x", "more", end, start); err != nil || len(s.until) != 1 {
		t.Errorf("where there is no room: %v, %d remembered, want it taken and alone", err, len(s.until))
	}
	clear(s.until)
	if err := s.MarkUsed(t.Context(), "x", "more", end, start); !errors.Is(err, ErrUsed) || len(s.until) != 1 {
		t.Errorf("what the store alone knows: %v, %d remembered, want ErrUsed", err, len(s.until))
	}
	s = new(ReplayCache)
	for n := range maxKnown {
		s.remember(sha256.Sum256(fmt.Append(nil, n)), end.Add(time.Duration(n%2)*time.Minute), start)
	}
	if s.remember(sha256.Sum256([]byte("late")), end.Add(time.Hour), end); len(s.until) != maxKnown/2+1 {
		t.Errorf("%d are remembered after half have run out, want the others and the new one", len(s.until))
	}
}

// If few proofs have expired, the next proof would find no room again: then the whole
// memory was scanned for each proof, while every caller waited.
func TestMemoryIsNotLookedThroughForEachProof(t *testing.T) {
	s := new(ReplayCache)
	for n := range maxKnown {
		s.remember(sha256.Sum256(fmt.Append(nil, n)), end.Add(time.Duration(n)), start)
	}
	if s.remember(sha256.Sum256([]byte("late")), end.Add(time.Hour), end.Add(9)); len(s.until) != 1 {
		t.Errorf("%d are remembered after ten have run out, want the new one alone", len(s.until))
	}
}

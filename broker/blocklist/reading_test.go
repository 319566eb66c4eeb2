package blocklist

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/clocktest"
	"github.com/gatepass/gatepass/test/storetest"
)

// stuck is a store whose lists first do what before says.
type stuck struct {
	store.Store
	before func(context.Context) error
}

func (s *stuck) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		if err := s.before(ctx); err != nil {
			yield(store.Name{}, err)
			return
		}
		for name, err := range s.Store.List(ctx, below) {
			if !yield(name, err) {
				return
			}
		}
	}
}

func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// A replica that cannot read the list does not know who was blocked. It once gave live
// tokens to blocked workspaces for half a minute.
func TestWithoutAReadingOfTheLastSecondNothingIsGiven(t *testing.T) {
	for name, fails := range map[string]func(context.Context) error{
		"a store that fails": func(context.Context) error { return errors.New("it is away") },
		"a store that hangs": hang,
	} {
		synctest.Test(t, func(t *testing.T) {
			in := new(storetest.Memory)
			s := &stuck{Store: in, before: func(context.Context) error { return nil }}
			blind := &List{Store: s}
			if blocked, err := blind.Blocked(t.Context(), "sb-1"); blocked || err != nil {
				t.Fatalf("%s: Blocked = %v, %v, want sb-1 let in", name, blocked, err)
			}
			begun := time.Now()
			s.before = fails
			if err := (&List{Store: in}).Block(t.Context(), "sb-1"); err != nil {
				t.Fatal(err)
			}
			for time.Since(begun) < 10*time.Second {
				asked := time.Now()
				blocked, err := blind.Blocked(t.Context(), "sb-1")
				if asked.Sub(begun) > blocksStale && (!blocked || err == nil) {
					t.Errorf("%s: Blocked = %v, %v after %s, want an error", name, blocked, err, asked.Sub(begun))
				}
				if took := time.Since(asked); took > blocksWait+listsEvery {
					t.Errorf("%s: an answer takes %s", name, took)
				}
				time.Sleep(100 * time.Millisecond)
			}
			s.before = func(context.Context) error { return nil }
			time.Sleep(blocksWait)
			if blocked, err := blind.Blocked(t.Context(), "sb-1"); !blocked || err != nil {
				t.Errorf("%s: Blocked = %v, %v once it can be read, want it blocked", name, blocked, err)
			}
			time.Sleep(2 * blocksWait) // let the last readings end
		})
	}
}

// A slow store must not make the broker refuse everyone, or make everyone wait.
func TestASlowStoreDelaysNoOtherCaller(t *testing.T) {
	for _, c := range []struct {
		slow    time.Duration
		held    float64 // the part of the callers that may wait
		longest time.Duration
	}{
		{50 * time.Millisecond, .1, 50 * time.Millisecond},
		{400 * time.Millisecond, .1, 400 * time.Millisecond},
		{900 * time.Millisecond, 1, 900 * time.Millisecond},
		{2 * time.Second, 1, 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &List{Store: &stuck{Store: new(storetest.Memory), before: func(context.Context) error { time.Sleep(c.slow); return nil }}}
			_ = b.Check(t.Context())
			var all, held atomic.Int64
			var callers sync.WaitGroup
			for at := range 200 { // twenty seconds
				callers.Go(func() {
					time.Sleep(time.Duration(at) * 100 * time.Millisecond)
					for range 10 {
						callers.Go(func() {
							asked := time.Now()
							if err := b.Check(t.Context()); err != nil {
								t.Errorf("a list that takes %s: Check = %v, want it read", c.slow, err)
							}
							all.Add(1)
							took := time.Since(asked)
							if took > c.longest {
								t.Errorf("a list that takes %s: an answer takes %s", c.slow, took)
							}
							if took > 0 {
								held.Add(1)
							}
						})
					}
				})
			}
			callers.Wait()
			time.Sleep(2 * blocksWait) // let the last readings end
			if part := float64(held.Load()) / float64(all.Load()); part > c.held {
				t.Errorf("a list that takes %s: %.0f %% of the callers wait, want at most %.0f", c.slow, 100*part, 100*c.held)
			}
		})
	}
}

// If one reading hangs, for example because its connection is gone, another follows.
func TestOneReadingThatHangsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var readings atomic.Int64
		b := &List{Store: &stuck{Store: new(storetest.Memory), before: func(ctx context.Context) error {
			if readings.Add(1)%4 == 0 {
				return hang(ctx)
			}
			return nil
		}}}
		for range 100 {
			asked := time.Now()
			if err := b.Check(t.Context()); err != nil || time.Since(asked) > listsEvery {
				t.Errorf("Check = %v after %s, want the next reading's answer", err, time.Since(asked))
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * blocksWait) // let the last readings end
	})
}

// A reading that began before this replica changed a block does not undo the change:
// neither a block nor an unblock.
func TestAnEarlierReadingUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stale{Store: new(storetest.Memory), listed: make(chan bool)}
		if err := s.Put(t.Context(), store.AppClientID(), store.NewSecret("Iv1.0"), store.Replace); err != nil {
			t.Fatal(err)
		}
		b := &List{Store: s}
		var waiting sync.WaitGroup
		for _, want := range []bool{true, false} {
			time.Sleep(time.Minute)
			s.isLate.Store(true)
			waiting.Go(func() { _ = b.Check(t.Context()) })
			synctest.Wait() // the store has answered, but the broker has not read the answer
			change := b.Block
			if !want {
				change = b.Unblock
			}
			if err := change(t.Context(), "sb-1"); err != nil {
				t.Fatal(err)
			}
			s.listed <- true
			waiting.Wait()
			if all, err := b.All(t.Context()); all.Workspaces["sb-1"] != want || err != nil {
				t.Errorf("All = %+v, %v, want sb-1 blocked: %v", all, err, want)
			}
		}
	})
}

// stale lists what was there when it was asked; if isLate, it returns it only when
// told.
type stale struct {
	store.Store
	isLate atomic.Bool
	listed chan bool
}

func (s *stale) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		var names []store.Name
		for name := range s.Store.List(ctx, below) {
			names = append(names, name)
		}
		if s.isLate.CompareAndSwap(true, false) {
			<-s.listed
		}
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// After a suspend, an earlier reading is not fresh, whatever the monotonic clock says;
// and setting the clock back does not make it older.
func TestTheAgeOfAReadingByBothClocks(t *testing.T) {
	in, now := new(storetest.Memory), time.Now()
	s := &stuck{Store: in, before: func(context.Context) error { return nil }}
	b := &List{Store: s, Now: func() time.Time { return now }}
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.before = func(context.Context) error { return errors.New("it is away") }
	now = clocktest.Slept(now, -2*time.Hour)
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("a clock that was set back: Check = %v, want the reading of just now", err)
	}
	now = clocktest.Slept(now, 4*time.Hour)
	if err := b.Check(t.Context()); err == nil {
		t.Error("after two hours of sleep: Check = nil, want an error")
	}
}

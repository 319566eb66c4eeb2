package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/clocktest"
	"github.com/gatepass/gatepass/test/storetest"
)

// lazy is a store with slow answers.
type lazy struct{ store.Store }

func (l lazy) nap() { time.Sleep(rand.N(400 * time.Millisecond)) }

func (l lazy) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	l.nap()
	defer l.nap()
	return l.Store.Get(ctx, n)
}

func (l lazy) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	l.nap()
	defer l.nap()
	return l.Store.Put(ctx, n, v, mode)
}

func (l lazy) Delete(ctx context.Context, n store.Name) error {
	l.nap()
	defer l.nap()
	return l.Store.Delete(ctx, n)
}

// However many runs find a lock that was left behind, only one at a time takes it over,
// and one of them does.
func TestALockIsTakenOverByOneAtATime(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			s := lazy{&storetest.Memory{Now: time.Now}}
			leaveLock(t, s)
			var inside, served atomic.Int32
			var running sync.WaitGroup
			for range 4 {
				running.Go(func() {
					time.Sleep(rand.N(5 * time.Second))
					i := &Issuer{Store: s}
					_ = i.run(t.Context(), "sb-1", func(context.Context, *run) error {
						if n := inside.Add(1); n > 1 {
							t.Errorf("%d runs work on the workspace at once", n)
						}
						time.Sleep(rand.N(10 * time.Second))
						inside.Add(-1)
						served.Add(1)
						return nil
					})
				})
			}
			running.Wait()
			if served.Load() == 0 {
				t.Error("the lock is not taken over")
			}
		})
	}
}

// leaveLock leaves a lock like a run that was killed long ago.
func leaveLock(t *testing.T, s store.Store) {
	t.Helper()
	name, err := store.Lock("sb-1")
	if err != nil {
		t.Fatal(err)
	}
	old, err := json.Marshal(lease{"x", time.Now().Add(-time.Hour)})
	if err == nil {
		err = s.Put(t.Context(), name, store.NewSecret(string(old)), store.CreateOnly)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// scripted is a store that answers one read or write after the other as a test says;
// nil means the normal answer.
type scripted struct {
	store.Store
	gets, puts []error
	slow       time.Duration // of every read
	replaced   int
}

func next(script *[]error) error {
	if len(*script) == 0 {
		return nil
	}
	err := (*script)[0]
	*script = (*script)[1:]
	return err
}

func (s *scripted) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	time.Sleep(s.slow)
	if err := next(&s.gets); err != nil {
		return store.Entry{}, err
	}
	return s.Store.Get(ctx, n)
}

func (s *scripted) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	if err := next(&s.puts); err != nil {
		return err
	}
	if mode == store.Replace {
		s.replaced++
	}
	return s.Store.Put(ctx, n, v, mode)
}

// A run that cannot tell whether it has the lock does not work.
func TestWithoutTheLockNothingIsDone(t *testing.T) {
	away := errors.New("the store is away")
	for _, c := range []struct {
		name       string
		left       bool // a lock was left behind
		gets, puts []error
		slow       time.Duration
		want       error // nil means that the work is done
		replaced   int
	}{
		{name: "no lock"},
		{name: "a lock that was left behind", left: true, replaced: 1},
		{name: "the lock cannot be written", puts: []error{away}, want: away},
		{name: "the lock cannot be looked at", left: true, gets: []error{away}, want: away},
		{name: "the lock of another is gone by then", puts: []error{store.ErrExists}, gets: []error{store.ErrNotFound}},
		{name: "so is that of a third", puts: []error{store.ErrExists, store.ErrExists}, gets: []error{store.ErrNotFound, store.ErrNotFound}, want: ErrBusy},
		{name: "it cannot be taken over", left: true, puts: []error{store.ErrExists, away}, want: away},
		{name: "it is unknown who took it over", left: true, gets: []error{nil, away}, want: away, replaced: 1},
		{name: "who took it over is done already", left: true, gets: []error{nil, store.ErrNotFound}, want: ErrBusy, replaced: 1},
		{name: "the look took too long", left: true, slow: acquireTime, want: ErrBusy},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{Store: &storetest.Memory{Now: time.Now}, slow: c.slow}
			if c.left {
				leaveLock(t, s)
			}
			s.gets, s.puts = c.gets, c.puts
			worked := false
			err := (&Issuer{Store: s}).run(t.Context(), "sb-1", func(context.Context, *run) error { worked = true; return nil })
			if !errors.Is(err, c.want) || worked != (c.want == nil) || s.replaced != c.replaced {
				t.Errorf("%s: %v, worked = %v after %d takeovers, want %v and %d", c.name, err, worked, s.replaced, c.want, c.replaced)
			}
		})
	}
	if err := (&Issuer{Store: &storetest.Memory{}}).run(t.Context(), "../x", func(context.Context, *run) error { return nil }); err == nil {
		t.Error("a bad id is locked")
	}
}

func TestABusyWorkspaceSaysUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &Issuer{Store: &storetest.Memory{Now: time.Now}}
		err := i.run(t.Context(), "sb-1", func(ctx context.Context, _ *run) error {
			time.Sleep(30 * time.Second)
			if left, err := i.LockedFor(ctx, "sb-1"); left != time.Minute || err != nil {
				t.Errorf("LockedFor = %v, %v, want a minute", left, err)
			}
			return i.Unlock(ctx, "sb-1")
		})
		if want := "work on workspace sb-1: another run works on it; try again, in 1m0s at the latest"; err == nil || err.Error() != want {
			t.Errorf("Unlock = %v, want %s", err, want)
		}
		if _, err := i.LockedFor(t.Context(), "sb-1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("LockedFor = %v, want that there is no lock", err)
		}
		i.LockWait = time.Minute
		leaveLock(t, i.Store)
		ctx, cancel := context.WithTimeout(t.Context(), confirmTime/2)
		defer cancel()
		if err := i.Unlock(ctx, "sb-1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Unlock = %v, want the caller's deadline", err)
		}
	})
}

// A machine that was suspended in the middle of a run continues with nothing: another
// run has its lock by then.
func TestARunThatSleptDoesNothingMore(t *testing.T) {
	now := time.Now()
	s := new(storetest.Memory)
	i := &Issuer{Store: s, Now: func() time.Time { return now }}
	err := i.run(t.Context(), "sb-1", func(ctx context.Context, r *run) error {
		r.record = &Record{ID: "sb-1", Created: now}
		if err := r.ledger.save(ctx, r.record); err != nil {
			t.Errorf("save = %v, want nil", err)
		}
		now = clocktest.Slept(now, 2*time.Hour)
		return r.ledger.save(ctx, r.record)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("save after two hours of sleep = %v, want DeadlineExceeded", err)
	}
}

// A run whose clock was a year ahead was killed: its lock blocked all other runs for a
// year.
func TestALockOfAClockThatIsAhead(t *testing.T) {
	for _, c := range []struct {
		name    string
		ahead   time.Duration
		after   time.Duration // that another run tries
		isTaken bool
	}{
		{"a year ahead, at work", 365 * 24 * time.Hour, time.Minute, false},
		{"a year ahead, killed", 365 * 24 * time.Hour, 2*lockTime + time.Second, true},
		{"a minute ahead, at work", time.Minute, time.Minute, false},
		{"right, killed", 0, lockTime + time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &storetest.Memory{Now: time.Now}
			name, err := store.Lock("sb-1")
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(lease{"x", time.Now().Add(c.ahead + lockTime)})
			if err == nil {
				err = s.Put(t.Context(), name, store.NewSecret(string(text)), store.CreateOnly)
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.after)
			ran := false
			err = (&Issuer{Store: s}).run(t.Context(), "sb-1", func(context.Context, *run) error { ran = true; return nil })
			if ran != c.isTaken || !ran && !errors.Is(err, ErrBusy) {
				t.Errorf("%s: ran = %v, %v, want %v", c.name, ran, err, c.isTaken)
			}
		})
	}
}

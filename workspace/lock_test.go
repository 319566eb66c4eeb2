package workspace

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/storetest"
)

// lazy is a store that is far away.
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

// However many find a lock that was left behind, one at a time takes it over, and
// somebody does.
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
					_ = i.locked(t.Context(), "sb-1", func(context.Context) error {
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
				t.Error("nobody takes the lock over")
			}
		})
	}
}

// leaveLock is what a run does that was killed long ago.
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

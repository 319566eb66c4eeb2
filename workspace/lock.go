package workspace

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// ErrBusy reports that another run works on the workspace.
var ErrBusy = errors.New("another run works on it")

// A run has runTime to do its work, and holds the workspace for lockTime: longer
// than it can take, whatever the clocks of two machines say.
const (
	runTime  = time.Minute
	lockTime = 90 * time.Second
)

// lease is what is in a workspace's lock.
type lease struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

// Several runs may find a lock that has run out, and each writes its own over it.
// A run does so within takeTime of looking, and looks again after settleTime: by
// then the last of them has written, and that one has the lock. In between the lock
// is never gone, so that nobody else creates one.
const (
	takeTime   = 2 * time.Second
	settleTime = 3 * time.Second
)

// locked does the work while no other run does. All stores create an entry for
// one caller only; that is the lock. One that a killed run left behind counts
// until it has run out, and is then taken over.
func (i *Issuer) locked(ctx context.Context, id string, work func(context.Context) error) error {
	name, err := store.Lock(id)
	if err != nil {
		return err
	}
	i.Sync(ctx) // others read the lease by their clocks
	tookOver, err := i.wait(ctx, id, name)
	if err != nil {
		return err
	}
	defer i.release(ctx, name)
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	return work(context.WithValue(ctx, turnKey{}, turn{i.machine().Add(runTime), tookOver}))
}

// A turn is what a run's context says of it.
type turn struct {
	// end is when the run's time is over. The context's own end is put off while the
	// machine is suspended, and others do not wait for it that long.
	end      time.Time
	tookOver bool // the lock was left behind: the run before was killed
}

type turnKey struct{}

// isOver returns an error where a run has no time left by the wall's clock.
func (i *Issuer) isOver(ctx context.Context) error {
	if t, ok := ctx.Value(turnKey{}).(turn); ok && clock.Left(t.end, i.machine()) <= 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// hasTakenOver reports whether the run before this one was killed.
func hasTakenOver(ctx context.Context) bool {
	t, _ := ctx.Value(turnKey{}).(turn)
	return t.tookOver
}

// pollTime is between two looks at a lock that another run holds.
const pollTime = time.Second

// wait acquires the lock, and lets another run finish for as long as Patience
// says.
func (i *Issuer) wait(ctx context.Context, id string, name store.Name) (tookOver bool, err error) {
	for left := i.Patience; ; left -= pollTime {
		tookOver, err = i.acquire(ctx, id, name)
		if !errors.Is(err, ErrBusy) || left <= 0 {
			return tookOver, err
		}
		if left == i.Patience && i.Waiting != nil {
			i.Waiting(id)
		}
		select {
		case <-time.After(pollTime):
		case <-ctx.Done():
			return false, err
		}
	}
}

// acquire makes the lock, or takes it over from a run that was killed.
func (i *Issuer) acquire(ctx context.Context, id string, name store.Name) (tookOver bool, err error) {
	own, err := json.Marshal(lease{rand.Text(), i.now().Add(lockTime)})
	if err != nil {
		return false, err
	}
	for range 2 {
		err = i.Store.Put(ctx, name, store.NewSecret(string(own)), store.CreateOnly)
		if !errors.Is(err, store.ErrExists) {
			return false, err
		}
		looked := time.Now()
		left, err := i.heldFor(ctx, name, string(own))
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return false, err
		case left == 0:
			return true, i.takeOver(ctx, id, name, string(own), looked.Add(takeTime))
		}
		return false, busy(id, left)
	}
	return false, busy(id, 0)
}

// busy is nil where the lock is our own.
func busy(id string, left time.Duration) error {
	if left < 0 {
		return nil // AWS repeats a write whose answer was lost
	}
	do := "try again"
	if left > 0 {
		do += ", in " + left.Round(time.Second).String() + " at the latest"
	}
	return &usererr.Error{Op: "work on workspace " + id, Err: ErrBusy, Hint: do}
}

// takeOver puts our lease in the place of one that has run out.
func (i *Issuer) takeOver(ctx context.Context, id string, name store.Name, own string, by time.Time) error {
	soon, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	if soon.Err() != nil {
		return busy(id, 0)
	}
	if err := i.Store.Put(soon, name, store.NewSecret(own), store.Replace); err != nil {
		return err
	}
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
		return ctx.Err()
	}
	left, err := i.heldFor(ctx, name, own)
	if errors.Is(err, store.ErrNotFound) {
		return busy(id, 0) // who won is done already
	}
	if err != nil {
		return err
	}
	return busy(id, left)
}

// heldFor returns how long another run may still hold the lock: 0 when it has
// run out, less than 0 when it is our own.
func (i *Issuer) heldFor(ctx context.Context, name store.Name, own string) (time.Duration, error) {
	entry, err := i.Store.Get(ctx, name)
	if errors.Is(err, store.ErrDamaged) {
		return 0, nil // of nobody, as in leaseOf
	}
	if err != nil {
		return 0, err
	}
	if entry.Value.Reveal() == own {
		return -1, nil
	}
	return leaseOf(entry, i.now()), nil
}

// leaseOf is how long the holder of a lock may still work; 0 when it has run out.
func leaseOf(entry store.Entry, now time.Time) time.Duration {
	var l lease
	if json.Unmarshal([]byte(entry.Value.Reveal()), &l) != nil {
		return 0 // of nobody who would come back
	}
	// One that ends later than any lock does is of a clock that is wrong.
	return min(max(l.Until.Sub(now), 0), lockTime)
}

// LockedFor returns how long a run may still work on the workspace: 0 where one
// left its lock behind. It wraps [store.ErrNotFound] where there is no lock.
func (i *Issuer) LockedFor(ctx context.Context, id string) (time.Duration, error) {
	name, err := store.Lock(id)
	if err != nil {
		return 0, err
	}
	entry, err := i.Store.Get(ctx, name)
	if errors.Is(err, store.ErrDamaged) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return leaseOf(entry, i.now()), nil
}

// Unlock removes a lock that was left behind, and no other.
func (i *Issuer) Unlock(ctx context.Context, id string) error {
	return i.locked(ctx, id, func(context.Context) error { return nil })
}

// release lets others work, also for a caller that has given up. What fails here
// runs out.
func (i *Issuer) release(ctx context.Context, name store.Name) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWait)
	defer cancel()
	_ = i.Store.Delete(ctx, name)
}

package workspace

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// A run has runTime for its work, and holds the workspace for lockTime: longer than the
// work can take, even if the clocks of two machines differ.
const (
	runTime  = time.Minute
	lockTime = 90 * time.Second
)

// Several runs may find an expired lock, and each overwrites it. A run does so within
// acquireTime of reading it, and reads it again after confirmTime: by then the last of them
// has written, and has the lock. The lock exists the whole time, so that no other run
// creates one.
const (
	acquireTime = 2 * time.Second
	confirmTime = 3 * time.Second
)

// cleanUpWait limits the cleaning up after the caller has given up.
const cleanUpWait = 10 * time.Second

// locks give each workspace to one run at a time.
type locks struct {
	store   store.Store
	clock   ledgerClock
	maxWait time.Duration   // how long to wait for another run
	onWait  func(id string) // called once when the wait begins; may be nil
}

// lease is the content of a lock.
type lease struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

// hold calls work while no other run holds the workspace. The lock is an entry that
// every store creates for only one caller. A lock that a killed run left behind counts
// until it has expired, and is then taken over.
func (l locks) hold(ctx context.Context, id string, work func(context.Context, lockTenure) error) error {
	name, err := store.Lock(id)
	if err != nil {
		return err
	}
	l.clock.sync(ctx) // other runs read the lease by their own clocks
	tookOver, err := l.wait(ctx, id, name)
	if err != nil {
		return err
	}
	defer l.release(ctx, name)
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	return work(ctx, lockTenure{l.clock.machine().Add(runTime), l.clock, tookOver})
}

// pollTime is the time between two reads of a lock that another run holds.
const pollTime = time.Second

// wait acquires the lock. It waits up to patience for another run.
func (l locks) wait(ctx context.Context, id string, name store.Name) (tookOver bool, err error) {
	for left := l.maxWait; ; left -= pollTime {
		tookOver, err = l.acquire(ctx, id, name)
		if !errors.Is(err, ErrBusy) || left <= 0 {
			return tookOver, err
		}
		if left == l.maxWait && l.onWait != nil {
			l.onWait(id)
		}
		select {
		case <-time.After(pollTime):
		case <-ctx.Done():
			return false, err
		}
	}
}

// acquire creates the lock, or takes it over from a run that was killed.
func (l locks) acquire(ctx context.Context, id string, name store.Name) (tookOver bool, err error) {
	own, err := json.Marshal(lease{rand.Text(), l.clock.now().Add(lockTime)})
	if err != nil {
		return false, err
	}
	for range 2 {
		err = l.store.Put(ctx, name, store.NewSecret(string(own)), store.CreateOnly)
		if !errors.Is(err, store.ErrExists) {
			return false, err
		}
		looked := time.Now()
		left, err := l.heldFor(ctx, name, string(own))
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return false, err
		case left == 0:
			return true, l.takeOver(ctx, id, name, string(own), looked.Add(acquireTime))
		}
		return false, busy(id, left)
	}
	return false, busy(id, 0)
}

// takeOver replaces an expired lease with ours.
func (l locks) takeOver(ctx context.Context, id string, name store.Name, own string, by time.Time) error {
	soon, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	if soon.Err() != nil {
		return busy(id, 0)
	}
	if err := l.store.Put(soon, name, store.NewSecret(own), store.Replace); err != nil {
		return err
	}
	select {
	case <-time.After(confirmTime):
	case <-ctx.Done():
		return ctx.Err()
	}
	left, err := l.heldFor(ctx, name, own)
	if errors.Is(err, store.ErrNotFound) {
		return busy(id, 0) // the run that won has already finished
	}
	if err != nil {
		return err
	}
	return busy(id, left)
}

// heldFor returns how long another run may still hold the lock: 0 if it has expired, a
// negative value if it is our own.
func (l locks) heldFor(ctx context.Context, name store.Name, own string) (time.Duration, error) {
	entry, err := l.store.Get(ctx, name)
	switch {
	case errors.Is(err, store.ErrDamaged):
		return 0, nil // no run holds it
	case err != nil:
		return 0, err
	case own != "" && entry.Value.Reveal() == own:
		return -1, nil
	}
	var held lease
	if json.Unmarshal([]byte(entry.Value.Reveal()), &held) != nil {
		return 0, nil // no run wrote it
	}
	left := held.Until.Sub(l.clock.now())
	if left > lockTime {
		// A machine whose clock is ahead, perhaps by a year, may have written it. The
		// store's clock says when that was; it may differ from ours by less than a lock
		// lasts.
		left = min(left, entry.Modified.Add(2*lockTime).Sub(l.clock.now()), lockTime)
	}
	return max(left, 0), nil
}

// release gives the lock back, even if the caller has given up. If it fails, the lock
// expires.
func (l locks) release(ctx context.Context, name store.Name) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWait)
	defer cancel()
	_ = l.store.Delete(ctx, name)
}

// A ledgerClock is the clock of the times in the ledger: GitHub's, whichever machine
// writes them.
type ledgerClock struct {
	app   *mint.App        // has GitHub's clock; nil means this machine's clock
	fixed func() time.Time // replaces both clocks in tests; nil in a program
}

func (c ledgerClock) now() time.Time {
	switch {
	case c.fixed != nil:
		return c.fixed().UTC()
	case c.app != nil:
		return c.app.Time().UTC()
	}
	return time.Now().UTC()
}

// machine returns the time by this machine's clock, to measure durations: now may jump
// when GitHub's answer corrects it.
func (c ledgerClock) machine() time.Time {
	if c.fixed != nil {
		return c.fixed()
	}
	return time.Now()
}

// sync asks GitHub for the time. Without an answer, the clock does not change.
func (c ledgerClock) sync(ctx context.Context) {
	if c.fixed == nil && c.app != nil {
		_ = c.app.Sync(ctx)
	}
}

// maxUncertainty is the assumed error of a clock that was never compared with GitHub's.
const maxUncertainty = 24 * time.Hour

// uncertainty returns how far now may be ahead of the real time. A token that may be alive
// must not count as expired.
func (c ledgerClock) uncertainty() time.Duration {
	if c.fixed != nil || c.app == nil {
		return 0
	}
	if _, ok := c.app.Ahead(); ok {
		return 0
	}
	return maxUncertainty
}

// earliest returns the earliest possible real time.
func (c ledgerClock) earliest() time.Time { return c.now().Add(-c.uncertainty()) }

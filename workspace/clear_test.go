package workspace

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// leave puts a token into the store that the ledger has never heard of.
func (c *city) leave(id string) {
	c.t.Helper()
	name, err := store.OnlyToken(id)
	if err == nil {
		err = c.store.Put(c.t.Context(), name, store.NewSecret(c.foreign()), store.CreateOnly)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func TestClearEndsOnlyWhatIsOver(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	c.leave("sb-1")
	if _, err := i.Clear(t.Context(), "sb-1"); err != nil {
		t.Errorf("Clear of what the ledger does not know = %v, want nil", err)
	}
	c.checkNames()
	c.checkLive(0, 0)

	if _, err := i.Create(t.Context(), "sb-1", profile(t, "acme/widgets, octo/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Clear(t.Context(), "sb-1"); !errors.Is(err, ErrInUse) {
		t.Errorf("Clear of a workspace in use = %v, want ErrInUse", err)
	}
	c.checkNames(bothOwners...)
	c.checkLive(2, 0)

	c.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(403), 1)
	if _, err := i.Destroy(t.Context(), "sb-1"); err == nil {
		t.Fatal("Destroy is done, want an error")
	}
	if _, err := i.Clear(t.Context(), "sb-1"); err != nil {
		t.Errorf("Clear of a destruction that has begun = %v, want nil", err)
	}
	c.checkNames()
	c.checkLive(0, 0)
}

func TestTidyMintsNothing(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	if _, err := i.Create(t.Context(), "sb-1", profile(t, "acme/widgets, octo/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Refresh(t.Context(), "sb-1", true); err != nil {
		t.Fatal(err)
	}
	c.checkLive(4, 0) // two of them superseded
	c.Advance(DefaultGrace + 30*time.Minute)
	c.ResetRequests()
	if err := i.Tidy(t.Context(), "sb-1"); err != nil {
		t.Errorf("Tidy = %v, want nil", err)
	}
	c.checkNames(bothOwners...)
	c.checkLive(2, 0)
	if n := c.Count(func(r fakegithub.Request) bool { return r.Method == "POST" }); n != 0 {
		t.Errorf("GitHub was asked for %d tokens, want none, although two are due", n)
	}
}

func TestUnlockRemovesOnlyWhatRanOut(t *testing.T) { synctest.Test(t, unlockRemovesOnlyWhatRanOut) }

func unlockRemovesOnlyWhatRanOut(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	if _, err := i.LockedFor(t.Context(), "sb-1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("LockedFor without a lock = %v, want ErrNotFound", err)
	}
	name, err := store.Lock("sb-1")
	if err == nil {
		_, err = i.locks().acquire(t.Context(), "sb-1", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if left, err := i.LockedFor(t.Context(), "sb-1"); err != nil || left <= lockTime-time.Minute || left > lockTime {
		t.Errorf("LockedFor = %v, %v, want about %v", left, err, lockTime)
	}
	if err := i.Unlock(t.Context(), "sb-1"); !errors.Is(err, ErrBusy) {
		t.Errorf("Unlock of a lock that is held = %v, want ErrBusy", err)
	}
	c.checkNames("lock")
	c.Advance(lockTime)
	if left, err := i.LockedFor(t.Context(), "sb-1"); err != nil || left != 0 {
		t.Errorf("LockedFor of a lock that has run out = %v, %v, want 0", left, err)
	}
	if err := i.Unlock(t.Context(), "sb-1"); err != nil {
		t.Errorf("Unlock = %v, want nil", err)
	}
	c.checkNames()
}

// Nobody could revoke it later if its text went first.
func TestATokenThatCannotBeRevokedStaysInTheStore(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	i.Adopt = true
	c.leave("sb-1")
	for _, step := range []struct {
		name string
		run  func() error
		live int // tokens that the store has
	}{
		{"Destroy", func() error { _, err := i.Destroy(t.Context(), "sb-1"); return err }, 1},
		{"Create", func() error { _, err := i.Create(t.Context(), "sb-2", profile(t, "acme/widgets"), 0); return err }, 3},
	} {
		if step.name == "Create" {
			c.leave("sb-2")
		}
		up := c.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(403), -1)
		if err := step.run(); err == nil {
			t.Errorf("%s is done, want an error", step.name)
		}
		up()
		c.checkLive(step.live, 0)
	}
	if _, err := i.Destroy(t.Context(), "sb-1"); err != nil {
		t.Error(err)
	}
	if _, err := i.Refresh(t.Context(), "sb-2", false); err != nil {
		t.Error(err)
	}
	c.checkLive(1, 0)
}

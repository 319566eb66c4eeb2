package workspace

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
)

// leave puts a token into the store that is not in the ledger.
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
	if _, err := i.FinishDestroy(t.Context(), "sb-1"); err != nil {
		t.Errorf("FinishDestroy of what the ledger does not know = %v, want nil", err)
	}
	c.checkNames()
	c.checkLive(0, 0)

	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets, octo/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := i.FinishDestroy(t.Context(), "sb-1"); !errors.Is(err, ErrInUse) {
		t.Errorf("FinishDestroy of a workspace in use = %v, want ErrInUse", err)
	}
	c.checkNames(bothOwners...)
	c.checkLive(2, 0)

	c.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(403), 1)
	if _, err := i.Destroy(t.Context(), "sb-1"); err == nil {
		t.Fatal("Destroy is done, want an error")
	}
	if _, err := i.FinishDestroy(t.Context(), "sb-1"); err != nil {
		t.Errorf("FinishDestroy of a destruction that has begun = %v, want nil", err)
	}
	c.checkNames()
	c.checkLive(0, 0)
}

func TestTidyMintsNothing(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets, octo/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Refresh(t.Context(), "sb-1", true); err != nil {
		t.Fatal(err)
	}
	c.checkLive(4, 0) // two of them superseded
	c.Advance(DefaultGrace + 30*time.Minute)
	c.ResetRequests()
	if err := i.RevokeSuperseded(t.Context(), "sb-1"); err != nil {
		t.Errorf("RevokeSuperseded = %v, want nil", err)
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

// If its text were deleted first, it could not be revoked later.
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
		{"Create", func() error { _, err := i.Create(t.Context(), "sb-2", profileOf(t, "acme/widgets"), 0); return err }, 3},
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

// damage empties an entry of a workspace, as a crash or a full disk does.
func (c *city) damage(id, name string) {
	c.t.Helper()
	n, err := store.ParseName("sandbox/" + id + "/" + name)
	if err != nil {
		c.t.Fatal(err)
	}
	c.store.(*storetest.Memory).Damage(n)
}

// Whatever is damaged, a workspace can be destroyed, and tokens that could not be
// revoked are reported.
func TestDestroyWhatIsDamaged(t *testing.T) {
	for _, c := range []struct {
		what    string
		names   []string
		isExtra bool // they are not there otherwise
		lost    int  // tokens that are reported
		alive   int  // of GitHub's
	}{
		{"the record", []string{"workspace"}, false, 1, 0},
		{"the token", []string{"github-tokens/acme", "github-token"}, false, 1, 1},
		{"both", []string{"workspace", "github-tokens/acme", "github-token"}, false, 1, 1},
		{"a copy of the token", []string{"github-token"}, false, 0, 0},
		{"what a broker gave", []string{"vended/0123456789abcdef"}, true, 1, 0},
		{"a lock", []string{"lock"}, true, 0, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it waits
				city := newCity(t)
				city.create("acme/widgets")
				for _, name := range c.names {
					if c.isExtra {
						city.putRaw(name, "x")
					}
					city.damage("sb-1", name)
				}
				i := city.run(&mortal{})
				told := 0
				i.Audit = func(e Event) {
					if e.Type == Lost {
						told++
					}
				}
				lost, err := i.Destroy(t.Context(), "sb-1")
				if err != nil || len(lost) != c.lost || told != c.lost {
					t.Errorf("Destroy = %v, %v, and %d were told, want %d", lost, err, told, c.lost)
				}
				city.checkNames()
				city.checkLive(0, c.alive)
			})
		})
	}
}

// It also reports a token of the first system, which has no record.
func TestDestroyADamagedTokenOfTheFirstSystem(t *testing.T) {
	c := newCity(t)
	c.inherit()
	c.damage("sb-1", "github-token")
	if lost, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err != nil || len(lost) != 1 {
		t.Errorf("Destroy = %v, %v, want one token that may be alive", lost, err)
	}
	c.checkNames()
}

// A workspace that stays in use replaces a damaged token, and reports that the old one
// may be alive.
func TestRefreshWhatIsDamaged(t *testing.T) {
	c := newCity(t)
	c.create("acme/widgets")
	c.damage("sb-1", "github-tokens/acme")
	c.damage("sb-1", "github-token")
	r, err := c.run(&mortal{}).Refresh(t.Context(), "sb-1", false)
	if err != nil || len(r.Lost(c.Now())) != 1 {
		t.Fatalf("Refresh = %+v, %v, want one token that is lost", r, err)
	}
	c.checkNames("github-token", "github-tokens/acme", "workspace")
	c.checkLive(1, 1)
}

// A damaged record is reported, with what to do, and does not stop the round over the
// others.
func TestPassOverWhatIsDamaged(t *testing.T) {
	c := newCrowd(t, 5000)
	c.settle(3, "acme/widgets")
	c.damage("sb-1", "workspace")
	failed := map[string]error{}
	sum, err := (&Round{Issuer: c.run(&mortal{}), Force: true, Each: func(r Result) {
		if r.Err != nil {
			failed[r.Workspace] = r.Err
		}
	}}).Run(t.Context())
	if err != nil || sum.Workspaces != 3 || sum.Minted != 2 || len(failed) != 1 || !strings.Contains(failed["sb-1"].Error(), "gatepass workspace destroy sb-1") {
		t.Errorf("the round = %+v, %v, and %v failed, want two minted and sb-1 named", sum, err, failed)
	}
}

// A blocked workspace loses its tokens in the store, whatever its record says.
func TestWithdrawWhatIsDamaged(t *testing.T) {
	c := newCity(t)
	c.create("acme/widgets")
	c.damage("sb-1", "workspace")
	block, err := store.Blocked("sb-1")
	if err == nil {
		err = c.store.Put(t.Context(), block, store.NewSecret("barred"), store.Replace)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := c.run(&mortal{}).RevokeBlocked(t.Context(), "sb-1"); err == nil || !strings.Contains(err.Error(), "gatepass workspace destroy sb-1") {
		t.Errorf("RevokeBlocked = %v, want what to do about the record", err)
	}
	c.checkNames("workspace")
	c.checkLive(0, 0)
}

package workspace

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// damage empties an entry of a workspace, as a crash or a full disk does.
func (c *city) damage(id, name string) {
	c.t.Helper()
	n, err := store.ParseName("sandbox/" + id + "/" + name)
	if err != nil {
		c.t.Fatal(err)
	}
	c.store.(*storetest.Memory).Damage(n)
}

// Whatever is damaged, a workspace can be destroyed, and what could not be revoked is
// told.
func TestDestroyWhatIsDamaged(t *testing.T) {
	for _, c := range []struct {
		what    string
		names   []string
		isExtra bool // they are not there otherwise
		lost    int  // tokens that are told
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

// Nor is it silent about a token of the first system, which has no record.
func TestDestroyADamagedTokenOfTheFirstSystem(t *testing.T) {
	c := newCity(t)
	c.inherit()
	c.damage("sb-1", "github-token")
	if lost, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err != nil || len(lost) != 1 {
		t.Errorf("Destroy = %v, %v, want one token that may be alive", lost, err)
	}
	c.checkNames()
}

// A workspace that goes on replaces a token that is damaged, and tells that the old
// one may be alive.
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

// One record that is damaged is named, with what to do, and does not stop the pass
// over the others.
func TestPassOverWhatIsDamaged(t *testing.T) {
	c := newCrowd(t, 5000)
	c.settle(3, "acme/widgets")
	c.damage("sb-1", "workspace")
	failed := map[string]error{}
	sum, err := (&Pass{Issuer: c.run(&mortal{}), Force: true, Each: func(r Result) {
		if r.Err != nil {
			failed[r.Workspace] = r.Err
		}
	}}).Run(t.Context())
	if err != nil || sum.Workspaces != 3 || sum.Minted != 2 || len(failed) != 1 || !strings.Contains(failed["sb-1"].Error(), "gatepass workspace destroy sb-1") {
		t.Errorf("the pass = %+v, %v, and %v failed, want two minted and sb-1 named", sum, err, failed)
	}
}

// Who is blocked loses what the store has, whatever its record says.
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
	if err := c.run(&mortal{}).Withdraw(t.Context(), "sb-1"); err == nil || !strings.Contains(err.Error(), "gatepass workspace destroy sb-1") {
		t.Errorf("Withdraw = %v, want what to do about the record", err)
	}
	c.checkNames("workspace")
	c.checkLive(0, 0)
}

package workspace

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func (c *city) create(repositories string) *Record {
	c.t.Helper()
	r, err := c.run(&mortal{}).Create(c.t.Context(), "sb-1", profileOf(c.t, repositories), 0)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *city) refresh(force bool) {
	c.t.Helper()
	if _, err := c.run(&mortal{}).Refresh(c.t.Context(), "sb-1", force); err != nil {
		c.t.Fatalf("Refresh = %v", err)
	}
}

// read returns the hash of the token that a workspace with one owner reads.
func (c *city) read() string {
	c.t.Helper()
	var texts []string
	for _, text := range []string{"sandbox/sb-1/github-token", "sandbox/sb-1/github-tokens/acme"} {
		name, err := store.ParseName(text)
		if err != nil {
			c.t.Fatal(err)
		}
		entry, err := c.store.Get(c.t.Context(), name)
		if err != nil {
			c.t.Fatal(err)
		}
		texts = append(texts, entry.Value.Reveal())
	}
	if texts[0] != texts[1] {
		c.t.Fatal("the only token is no copy of its owner's")
	}
	return credential.NewToken(texts[0], time.Time{}).Hash()
}

func (c *city) isLive(hash string) bool { return slices.Contains(hashesOf(c), hash) }

// The new token is in place before the old one ends, and the old one ends after its
// grace: a program that has just read it can finish.
func TestRefreshMakesBeforeItBreaks(t *testing.T) {
	c := newCity(t)
	c.create("acme/widgets")
	old := c.read()
	c.refresh(false)
	if c.read() != old {
		t.Error("Refresh replaces a token that lasts")
	}
	c.Advance(41 * time.Minute)
	c.refresh(false)
	fresh := c.read()
	if fresh == old || !c.isLive(old) || !c.isLive(fresh) {
		t.Fatalf("old token live: %v, new one: %v, want both", c.isLive(old), c.isLive(fresh))
	}
	c.checkLive(2, 0)
	c.Advance(10 * time.Minute)
	c.refresh(false)
	if !c.isLive(old) || c.read() != fresh {
		t.Error("the old token is revoked within its grace, or the new one was replaced")
	}
	c.checkNames("github-token", "github-tokens/acme", superseded(t, c), "workspace")
	if _, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	c.checkNames()
	c.checkLive(0, 0)
}

func superseded(t *testing.T, c *city) string {
	t.Helper()
	names, _ := c.held()
	i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, "superseded/") })
	if i < 0 {
		t.Fatalf("the store has %q, want a superseded token", names)
	}
	return names[i]
}

func TestASupersededTokenIsRevoked(t *testing.T) {
	c := newCity(t)
	c.create("acme/widgets")
	old := c.read()
	c.refresh(true)
	if c.read() == old || !c.isLive(old) {
		t.Fatal("a forced Refresh does not replace the token, or breaks it at once")
	}
	c.Advance(DefaultGrace)
	c.refresh(false)
	if c.isLive(old) {
		t.Error("the old token is alive after its grace")
	}
	c.checkNames("github-token", "github-tokens/acme", "workspace")
	c.checkLive(1, 0)
}

// What a profile no longer allows ends at once, not after a grace.
func TestANarrowerProfileEndsTheWiderToken(t *testing.T) {
	c := newCity(t)
	c.create("acme/*")
	old := c.read()
	r := c.create("acme/widgets")
	if c.read() == old || c.isLive(old) {
		t.Error("the token of the wider profile is alive")
	}
	c.checkNames("github-token", "github-tokens/acme", "workspace")
	c.checkLive(1, 0)
	alive := r.Tokens[len(r.Tokens)-1]
	if alive.State != Delivered || !slices.Equal(alive.Repositories, []string{"Acme/widgets"}) || alive.Permissions["contents"] != "write" {
		t.Errorf("the ledger says %+v, want what was granted", alive)
	}
}

func TestRefreshThatIsKilledIsFinishedByTheNext(t *testing.T) {
	kills(t, func(t *testing.T, m *mortal) bool {
		c := newCity(t)
		c.create("acme/widgets, octo/widgets")
		c.Advance(45 * time.Minute)
		if _, err := c.run(m).Refresh(t.Context(), "sb-1", false); (err == nil) == (m.isDead && !m.isQuiet) {
			t.Fatalf("Refresh = %v, dead: %v", err, m.isDead)
		}
		c.Advance(lockTime)
		c.refresh(false)
		names, _ := c.held()
		names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "superseded/") })
		if !slices.Equal(names, bothOwners) {
			t.Errorf("the store has %q, want a token for each owner", names)
		}
		c.checkLive(4, 1)
		c.Advance(DefaultGrace)
		c.refresh(false)
		c.checkNames(bothOwners...)
		c.checkLive(2, 1)
		if lost, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err != nil || len(lost) > 1 {
			t.Fatalf("Destroy = %v, %v", lost, err)
		}
		c.checkNames()
		c.checkLive(0, 1)
		return !m.isDead
	})
}

// Two runs never work on one workspace: a refresh in progress must not bring back what
// is being destroyed.
func TestOneRunAtATime(t *testing.T) {
	c := newCity(t)
	c.create("acme/widgets")
	inside := c.run(&mortal{})
	err := inside.run(t.Context(), "sb-1", func(ctx context.Context, _ *run) error {
		for name, run := range map[string]func() error{
			"Refresh": func() error { _, err := c.run(&mortal{}).Refresh(ctx, "sb-1", true); return err },
			"Destroy": func() error { _, err := c.run(&mortal{}).Destroy(ctx, "sb-1"); return err },
			"Create": func() error {
				_, err := c.run(&mortal{}).Create(ctx, "sb-1", profileOf(t, "acme/widgets"), 0)
				return err
			},
		} {
			if err := run(); !errors.Is(err, ErrBusy) {
				t.Errorf("%s meanwhile = %v, want ErrBusy", name, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.refresh(false)
	c.checkNames("github-token", "github-tokens/acme", "workspace")
}

func TestARunWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		c.create("acme/widgets")
		lock, _ := store.Lock("sb-1")
		first, second := c.run(&mortal{}), c.run(&mortal{})
		if _, err := first.locks().acquire(t.Context(), "sb-1", lock); err != nil {
			t.Fatal(err)
		}
		waits := 0
		second.LockWait, second.OnWait = time.Minute, func(string) { waits++ }
		go func() {
			time.Sleep(5 * time.Second)
			first.locks().release(t.Context(), lock)
		}()
		if _, err := second.Refresh(t.Context(), "sb-1", false); err != nil || waits != 1 {
			t.Errorf("Refresh = %v after %d waits, want it done after one", err, waits)
		}
	})
}

// The App was removed from the account and installed again: it has another ID, and the
// store has the old one.
func TestRefreshFindsTheNewInstallation(t *testing.T) {
	c := newCity(t)
	r := c.create("acme/widgets")
	if err := c.RemoveInstallation(r.Tokens[0].Installation); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddInstallation(fakegithub.Installation{AppID: c.app.ID, Account: "acme", RepositorySelection: "all"}); err != nil {
		t.Fatal(err)
	}
	c.Advance(45 * time.Minute)
	c.refresh(false)
	if hash := c.read(); !c.isLive(hash) {
		t.Error("the workspace has no live token")
	}
}

// GitHub answers with an error or not at all: no token is left that neither the store
// nor the ledger knows, and the next run repairs the workspace.
func TestRefreshSurvivesGitHub(t *testing.T) {
	for name, fault := range map[string]fakegithub.Fault{
		"down":      fakegithub.Status(http.StatusBadGateway),
		"reset":     fakegithub.Reset(),
		"cut off":   fakegithub.Truncate(20),
		"limited":   fakegithub.RateLimited(time.Hour),
		"forbidden": fakegithub.Status(http.StatusForbidden),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCity(t)
				c.create("acme/widgets")
				old := c.read()
				c.Advance(45 * time.Minute)
				stop := c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fault, -1)
				r, err := c.run(&mortal{}).Refresh(t.Context(), "sb-1", false)
				if err == nil || r == nil {
					t.Fatalf("Refresh = %v, %v, want a record and an error", r, err)
				}
				if c.read() != old || !c.isLive(old) {
					t.Error("the old token is gone, which still works")
				}
				c.checkLive(1, len(r.Lost(c.Now())))
				stop()
				c.refresh(false)
				if c.read() == old {
					t.Error("the next run does not heal")
				}
			})
		})
	}
}

func TestUnreadyIssuerHealsLater(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	i.NotReady = errors.New("no App is set up")
	r, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0)
	if err == nil || r == nil || !strings.Contains(err.Error(), "no App is set up") {
		t.Fatalf("Create = %v, %v, want a record and the reason", r, err)
	}
	c.refresh(false)
	c.checkLive(1, 0)
}

func TestEventsHoldNoSecret(t *testing.T) {
	c := newCity(t)
	var types []Type
	i := c.run(&mortal{})
	i.Audit = func(e Event) {
		types = append(types, e.Type)
		if text := e.LogValue().String(); strings.Contains(text, "ghs_") {
			t.Errorf("the event %s shows a token", text)
		}
	}
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Destroy(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	if want := []Type{Created, Generated, Ended, Destroyed}; !slices.Equal(types, want) {
		t.Errorf("events = %v, want %v", types, want)
	}
}

func TestLongRecordsFitEveryStore(t *testing.T) {
	r := record(t)
	r.Repositories = nil
	for k := range 500 {
		pattern, err := mint.ParsePattern(fmt.Sprintf("acme/a-repository-with-a-name-%d", k*7919))
		if err != nil {
			t.Fatal(err)
		}
		r.Repositories = append(r.Repositories, pattern)
		r.Tokens[0].Repositories = append(r.Tokens[0].Repositories, pattern.String())
	}
	data, err := r.Encode()
	if err != nil || len(data) > store.MaxValue {
		t.Fatalf("Encode = %d bytes, %v, want at most %d", len(data), err, store.MaxValue)
	}
	if back, err := ParseRecord(data); err != nil || len(back.Repositories) != 500 || len(back.Tokens[0].Repositories) != 500 {
		t.Errorf("ParseRecord = %v, want what was encoded", err)
	}
}

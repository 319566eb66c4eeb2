package workspace

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
)

// A counted store records each call, without the parts that differ from token to token.
type counted struct {
	*storetest.Memory

	mu    sync.Mutex // guards calls
	calls []string
}

func (c *counted) note(call, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := strings.Index(name, "/superseded/"); at >= 0 {
		name = name[:at] + "/superseded"
	}
	c.calls = append(c.calls, call+" "+name)
}

// take returns the calls since it was last called.
func (c *counted) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

func (c *counted) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	c.note("get", n.String())
	return c.Memory.Get(ctx, n)
}

func (c *counted) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	c.note("put", n.String())
	return c.Memory.Put(ctx, n, v, mode)
}

func (c *counted) PutDue(ctx context.Context, n store.Name, v store.Secret, mode store.Mode, due time.Time) error {
	c.note("put", n.String())
	return c.Memory.PutDue(ctx, n, v, mode, due)
}

func (c *counted) Swap(ctx context.Context, n store.Name, v store.Secret, version string, due time.Time) (string, error) {
	c.note("put", n.String())
	return c.Memory.Swap(ctx, n, v, version, due)
}

func (c *counted) Delete(ctx context.Context, n store.Name) error {
	c.note("delete", n.String())
	return c.Memory.Delete(ctx, n)
}

func (c *counted) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	c.note("list", below.String())
	return c.Memory.List(ctx, below)
}

func (c *counted) Due(ctx context.Context, below store.Prefix, before time.Time, limit int) iter.Seq2[store.NamedEntry, error] {
	c.note("due", below.String())
	return c.Memory.Due(ctx, below, before, limit)
}

// countedCity is a city whose store is counted, and how many other workspaces are in it.
func countedCity(t *testing.T, others int) (*city, *counted) {
	t.Helper()
	c := newCity(t)
	s := &counted{Memory: c.store.(*storetest.Memory)}
	for n := range others {
		for _, what := range []string{"workspace", "github-token", "github-tokens/acme"} {
			name, err := store.ParseName(fmt.Sprintf("sandbox/other-%d/%s", n, what))
			if err == nil {
				err = s.Memory.Put(t.Context(), name, store.NewSecret("x"), store.Replace)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	c.store = s
	return c, s
}

// In some stores, listing one workspace's folder reads all entries. A refresh makes the
// same calls beside a thousand workspaces as beside one, and lists only the blocks.
func TestARefreshCostsTheSameBesideAThousand(t *testing.T) {
	for _, isPlain := range []bool{false, true} {
		var few []string
		for _, others := range []int{1, 1000} {
			c, s := countedCity(t, others)
			run := &mortal{isPlain: isPlain}
			if _, err := c.run(run).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
				t.Fatal(err)
			}
			s.take()
			for _, wait := range []time.Duration{0, 36 * time.Minute, DefaultGrace} { // nothing, a new token, the end of the old one
				c.Advance(wait)
				if _, err := c.run(run).Refresh(t.Context(), "sb-1", wait > 0 && wait != DefaultGrace); err != nil {
					t.Fatal(err)
				}
			}
			calls := s.take()
			if slices.ContainsFunc(calls, func(call string) bool { return strings.HasPrefix(call, "list ") && call != "list broker/barred" }) {
				t.Errorf("the calls are %q, want no list but that of what is blocked", calls)
			}
			if few != nil && !slices.Equal(calls, few) {
				t.Errorf("beside %d workspaces the calls are\n%q, want those beside one:\n%q", others, calls, few)
			}
			few = calls
		}
	}
}

// mayLive returns the hashes of live tokens that a record accounts for, and how many
// more it says may be alive.
func (c *city) mayLive() (known []string, lost int) {
	c.t.Helper()
	r, err := c.run(&mortal{}).Load(c.t.Context(), "sb-1")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, t := range r.Tokens {
		switch {
		case t.Lost:
			lost++
		case t.State == Delivered || t.State == Superseded:
			known = append(known, t.Hash)
		}
	}
	return known, lost
}

// checkAccounted allows no live token that the record does not account for.
func (c *city) checkAccounted(when string) {
	c.t.Helper()
	known, lost := c.mayLive()
	for _, hash := range hashesOf(c) {
		if !slices.Contains(known, hash) {
			lost--
		}
	}
	if lost < 0 {
		c.t.Errorf("%s: %d live tokens are not in the record", when, -lost)
	}
}

// A lock that was left behind tells the next run to read everything. If a user has
// removed the lock, the record has enough.
func TestWhatAKilledRunLeftIsFoundByItsRecord(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(c *city){
		"two owners":                func(c *city) { c.create("acme/widgets, octo/widgets") },
		"a token of another system": func(c *city) { c.create("acme/widgets"); c.inherit() },
		"no record yet, and a token of another system": func(c *city) { c.inherit() },
		"another system wrote over ours": func(c *city) {
			c.create("acme/widgets")
			c.putRaw("github-tokens/acme", c.foreign())
		},
	} {
		t.Run(name, func(t *testing.T) {
			killsIn(t, false, func(t *testing.T, m *mortal) bool {
				c := newCity(t)
				before(c)
				c.Advance(41 * time.Minute)
				i := c.run(m)
				i.Adopt = true
				p := profileOf(t, "acme/widgets, octo/widgets")
				_, _ = i.Create(t.Context(), "sb-1", p, 0)
				if err := c.unlock(); err != nil {
					t.Fatal(err)
				}
				c.Advance(time.Minute) // GitHub knows every token by then
				again := c.run(&mortal{})
				again.Adopt = m.at%2 == 0 // any run finishes what was begun
				if _, err := again.Create(t.Context(), "sb-1", p, 0); err != nil && (again.Adopt || !errors.Is(err, ErrForeign)) {
					t.Fatalf("the next run = %v", err)
				}
				if again.Adopt {
					c.checkAccounted("after the next run")
				}
				again.Adopt = true
				if _, err := again.Refresh(t.Context(), "sb-1", false); err != nil {
					t.Fatal(err)
				}
				c.checkAccounted("at last")
				return !m.isDead
			})
		})
	}
}

// failing is a store that refuses the writes that a test names.
type failing struct {
	store.Store
	refuses func(store.Name) bool
}

func (f *failing) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	if f.refuses(n) {
		return fmt.Errorf("write %s: the store is down", n)
	}
	return f.Store.Put(ctx, n, v, mode)
}

// A token that could neither be recorded nor revoked is stored under a name that is in
// no record. The next run finds it.
func TestATokenThatTheRecordDoesNotTellIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		c.create("acme/widgets")
		c.Advance(41 * time.Minute)
		i := c.run(&mortal{isPlain: true})
		saves := 0
		i.Store = &failing{Store: i.Store, refuses: func(n store.Name) bool {
			if n.IsRecord() {
				saves++
			}
			return n.IsRecord() && saves >= 2 // after the request to GitHub
		}}
		up := c.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), 1)
		if _, err := i.Refresh(t.Context(), "sb-1", false); err == nil {
			t.Fatal("Refresh is done, want the store's error")
		}
		up()
		c.checkLive(2, 0) // ours, and the one that is kept
		c.refresh(false)
		c.Advance(DefaultGrace)
		c.refresh(false)
		c.checkNames("github-token", "github-tokens/acme", "workspace")
		c.checkLive(1, 0)
	})
}

// The same if the revocation of an old token is killed.
func TestARevocationThatIsKilledIsFinishedByTheNext(t *testing.T) {
	kills(t, func(t *testing.T, m *mortal) bool {
		c := newCity(t)
		c.create("acme/widgets")
		c.Advance(time.Minute)
		c.refresh(true)
		c.Advance(DefaultGrace)
		_, _ = c.run(m).Refresh(t.Context(), "sb-1", false)
		c.Advance(lockTime)
		c.refresh(false)
		c.checkNames("github-token", "github-tokens/acme", "workspace")
		c.checkLive(1, 0)
		return !m.isDead
	})
}

// LastError in a record says that a run failed; what that run meant to delete is
// deleted.
func TestACopyThatCouldNotBeDeletedGoesLater(t *testing.T) {
	c := newCity(t)
	c.create("acme/widgets")
	c.refresh(true)
	c.Advance(DefaultGrace)
	i := c.run(&mortal{})
	i.Store = undeletable{i.Store}
	if _, err := i.Refresh(t.Context(), "sb-1", false); err == nil {
		t.Fatal("Refresh is done, want the store's error")
	}
	if err := c.unlock(); err != nil {
		t.Fatal(err)
	}
	superseded(t, c)
	c.refresh(false)
	c.checkNames("github-token", "github-tokens/acme", "workspace")
}

func (c *city) unlock() error {
	name, err := store.Lock("sb-1")
	if err != nil {
		return err
	}
	return c.store.Delete(c.t.Context(), name)
}

// undeletable is a store whose role may not delete.
type undeletable struct{ store.Store }

func (undeletable) Delete(context.Context, store.Name) error { return errors.New("access denied") }

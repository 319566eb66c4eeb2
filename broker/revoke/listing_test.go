package revoke

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

// slow is a store that lists workspaces when gate allows it.
type slow struct {
	store.Store
	gate  chan struct{}
	lists atomic.Int32
	fails atomic.Bool
}

func (s *slow) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	if below != store.Workspaces() {
		return s.Store.List(ctx, below)
	}
	s.lists.Add(1)
	return func(yield func(store.Name, error) bool) {
		select {
		case <-s.gate:
		case <-ctx.Done():
		}
		if s.fails.Load() {
			yield(store.Name{}, errors.New("the store is away"))
			return
		}
		s.Store.List(ctx, below)(yield)
	}
}

// ids returns the ids of the listed workspaces.
func ids(t *testing.T, r *Revoker) string {
	t.Helper()
	found, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(slices.Sorted(maps.Keys(found.Names)), " ")
}

// A slow store is waited for once; afterwards the last listing is shown.
func TestAListingThatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s := &slow{Store: b.Store, gate: make(chan struct{}, 10)}
		b.revoker.listing.store = s
		b.MustToken("sb-1", "acme/widgets", "read")
		s.gate <- struct{}{}
		if got := ids(t, b.revoker); got != "sb-1" {
			t.Fatalf("the first listing has %q, want sb-1", got)
		}
		b.MustToken("sb-2", "acme/widgets", "read")
		b.Advance(time.Minute)
		for range 3 {
			if got := ids(t, b.revoker); got != "sb-1" {
				t.Errorf("while the store takes long: %q, want sb-1 of before", got)
			}
		}
		if n := s.lists.Load(); n != 2 {
			t.Errorf("the store was asked %d times, want twice", n)
		}
		if found, err := b.revoker.List(t.Context()); err != nil || b.Now().Sub(found.AsOf) < time.Minute {
			t.Errorf("the listing is of %v, %v, want a minute ago", found.AsOf, err)
		}
		close(s.gate)
		synctest.Wait()
		if got := ids(t, b.revoker); got != "sb-1 sb-2" {
			t.Errorf("in the end: %q, want both", got)
		}
	})
}

func TestAListingThatFails(t *testing.T) {
	b := newBench(t)
	s := &slow{Store: b.Store, gate: make(chan struct{})}
	close(s.gate)
	b.revoker.listing.store = s
	b.MustToken("sb-1", "acme/widgets", "read")
	for _, fails := range []bool{true, false, true} {
		s.fails.Store(fails)
		if _, err := b.revoker.List(t.Context()); (err != nil) != fails {
			t.Errorf("List = %v, want an error: %v", err, fails)
		}
	}
	s.fails.Store(false)
	s.gate = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fresh := listing{store: s, now: b.Now}
	if _, err := fresh.get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("get by one who gave up = %v", err)
	}
	close(s.gate)
	if got, err := fresh.get(t.Context()); err != nil || len(got.Names["sb-1"]) == 0 {
		t.Errorf("get by the next = %v, %v, want sb-1", got, err)
	}
}

// damage empties the store's entries of a workspace, like a crash or a full disk, and
// returns their number.
func (b *bench) damage(id string) (n int) {
	b.T.Helper()
	names, err := byWorkspace(b.T.Context(), b.Store, store.Workspaces())
	if err != nil {
		b.T.Fatal(err)
	}
	for _, name := range names[id] {
		b.Store.Damage(name)
		n++
	}
	return n
}

// Damaged entries of a workspace do not stop operators from revoking everything, and
// are recorded.
func TestWhatIsDamagedIsNotInTheWay(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	b.MustToken("ci", "octo/widgets", "read")
	if n := b.damage("sb-1"); n != 1 {
		t.Fatalf("%d entries of sb-1, want one", n)
	}
	got := b.revoke(blocklist.Target{App: true}, 0)
	if len(got.Revoked) != 2 || len(b.alive()) != 0 {
		t.Errorf("revoked are %q, want the token of ci, and that of sb-1 as the replicas share it", got.Revoked)
	}
	missed := 0
	for _, e := range b.Journal.Of(broker.KindRevoked) {
		if e.Workspace == "sb-1" && e.Decision == broker.Refused && strings.Contains(e.Detail, "cannot be revoked") {
			missed++
		}
	}
	if missed != 1 || vendedEntries(t, b) != 0 {
		t.Errorf("%d lines say that a token cannot be revoked, and %d entries are left, want 1 and 0", missed, vendedEntries(t, b))
	}
}

// Without an operator they are deleted within a token's lifetime.
func TestWhatIsDamagedRunsOut(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	b.damage("sb-1")
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {30 * time.Minute, 1}, {40 * time.Minute, 0}} {
		b.Advance(c.after)
		if b.clean(); vendedEntries(t, b) != c.want {
			t.Errorf("after %v more: %d entries, want %d", c.after, vendedEntries(t, b), c.want)
		}
	}
}

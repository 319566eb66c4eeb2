package revoke

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// counted counts how many entries of tokens are read one by one.
type counted struct {
	*storetest.Memory
	gets atomic.Int32
}

func (c *counted) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	if name.IsVended() {
		c.gets.Add(1)
	}
	return c.Memory.Get(ctx, name)
}

// vendedNames returns the entries of the tokens that workspaces were given.
func (b *bench) vendedNames() (names []store.Name) {
	b.T.Helper()
	for name, err := range b.Store.List(b.T.Context(), store.Workspaces()) {
		if err != nil {
			b.T.Fatal(err)
		}
		if name.IsVended() {
			names = append(names, name)
		}
	}
	return names
}

// A block of the App read the entries of all workspaces one by one, also in a store that
// reads many with one call.
func TestABlockOfTheAppReadsEntriesInBulk(t *testing.T) {
	const workspaces = 2 * bulkFrom
	b := newBench(t)
	for n := range workspaces {
		b.MustToken(fmt.Sprint("sb-", n), "acme/widgets", "read")
	}
	b.MustToken("ci", "octo/widgets", "write")
	names := b.vendedNames()
	if len(names) != workspaces+1 {
		t.Fatalf("the store has %d entries, want %d", len(names), workspaces+1)
	}
	// An older broker did not write when an entry is due, and one entry is damaged.
	old, err := b.Store.Get(t.Context(), names[0])
	if err == nil {
		err = b.Store.Put(t.Context(), names[0], old.Value, store.Replace)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.Store.Damage(names[1])
	seen := &counted{Memory: b.Store}
	b.revoker.Store = seen
	got := b.revoke(blocklist.Target{App: true}, 0)
	if live := b.alive(); len(live) != 0 {
		t.Errorf("%d tokens are alive, want none", len(live))
	}
	if n := seen.gets.Load(); n != 2 {
		t.Errorf("%d entries were read one by one, want the 2 without a date or with damage", n)
	}
	if left := b.vendedNames(); len(left) != 0 {
		t.Errorf("%d entries are left, want none", len(left))
	}
	if len(got.Workspaces) != workspaces || !slices.Contains(got.Workspaces, "ci") { // not the one whose entry is damaged
		t.Errorf("%d workspaces are named, want %d", len(got.Workspaces), workspaces)
	}
}

// A store whose bulk read fails, and a block of one account, miss no token.
func TestBulkReadsThatFail(t *testing.T) {
	b := newBench(t)
	for n := range 2 * bulkFrom {
		b.MustToken(fmt.Sprint("sb-", n), "acme/widgets", "read")
	}
	b.MustToken("ci", "octo/widgets", "write")
	b.revoker.Store = failingDue{b.Store}
	b.revoke(blocklist.Target{Owner: "acme"}, 0)
	if live := b.alive(); len(live) != 1 {
		t.Errorf("%d tokens are alive, want octo's", len(live))
	}
	if left := b.vendedNames(); len(left) != 1 {
		t.Errorf("%d entries are left, want octo's", len(left))
	}
}

// failingDue is a store whose bulk read ends after some entries.
type failingDue struct{ *storetest.Memory }

func (f failingDue) Due(ctx context.Context, below store.Prefix, before time.Time, limit int) iter.Seq2[store.NamedEntry, error] {
	return func(yield func(store.NamedEntry, error) bool) {
		n := 0
		for e, err := range f.Memory.Due(ctx, below, before, limit) {
			if n++; n > bulkFrom {
				yield(store.NamedEntry{}, errors.New("throttled"))
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

package revoke

import (
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

// damage empties what the store has of a workspace, as a crash or a full disk does,
// and returns how many entries that were.
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

// What is damaged of one workspace does not keep operators from taking everything away,
// and is written down.
func TestWhatIsDamagedIsNotInTheWay(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	b.MustToken("ci", "octo/widgets", "read")
	if n := b.damage("sb-1"); n != 1 {
		t.Fatalf("%d entries of sb-1, want one", n)
	}
	got := b.revoke(broker.Target{App: true}, 0)
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

// Without an operator it is forgotten in the time that a token lives.
func TestWhatIsDamagedRunsOut(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	b.damage("sb-1")
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {30 * time.Minute, 1}, {40 * time.Minute, 0}} {
		b.Advance(c.after)
		if b.tidy(); vendedEntries(t, b) != c.want {
			t.Errorf("after %v more: %d entries, want %d", c.after, vendedEntries(t, b), c.want)
		}
	}
}

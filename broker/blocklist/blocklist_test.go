package blocklist

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/clocktest"
	"github.com/gatepass/gatepass/test/storetest"
)

// A workspace that keeps asking and canceling does not prevent a replica from learning
// that it is blocked.
func TestBlocksAreReadForACallerThatHasGone(t *testing.T) {
	in := new(storetest.Memory)
	if err := (&List{Store: in}).Block(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	replica := &List{Store: in}
	if blocked, err := replica.Blocked(gone, "sb-1"); !blocked || err != nil {
		t.Errorf("Blocked = %v, %v, want it blocked", blocked, err)
	}
}

// A store that lost its volume looks as if no workspace was blocked.
func TestBlocksOutliveTheStore(t *testing.T) {
	now := time.Now()
	mounted := new(storetest.Memory)
	if err := mounted.Put(t.Context(), store.AppClientID(), store.NewSecret("Iv1.0"), store.Replace); err != nil {
		t.Fatal(err)
	}
	blocks := &List{Store: mounted, Now: func() time.Time { return now }}
	if err := blocks.Block(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	if blocked, err := blocks.Blocked(t.Context(), "sb-1"); !blocked || err != nil {
		t.Fatalf("Blocked = %v, %v, want it blocked", blocked, err)
	}
	blocks.Store = new(storetest.Memory)
	now = now.Add(listsEvery)
	if blocked, err := blocks.Blocked(t.Context(), "sb-1"); !blocked || err != nil {
		t.Errorf("without its volume: Blocked = %v, %v, want it blocked still", blocked, err)
	}
	now = now.Add(2 * blocksStale)
	if _, err := blocks.Blocked(t.Context(), "sb-2"); err == nil {
		t.Error("without its volume for long, a workspace is let in")
	}
	blocks.Store = mounted
	if err := (&List{Store: mounted}).Unblock(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(listsEvery)
	if blocked, err := blocks.Blocked(t.Context(), "sb-1"); blocked || err != nil {
		t.Errorf("unblocked by another replica: Blocked = %v, %v, want it let in", blocked, err)
	}
}

// A block by one replica holds there at once, and at the others when they have read the
// store again; the same for an unblock.
func TestEveryTargetIsTakenAndGivenBack(t *testing.T) {
	type asked struct {
		workspace, owner string
		want             bool
	}
	for _, c := range []struct {
		target Target
		said   string
		asked  []asked
	}{
		{Target{Workspace: "acme"}, "workspace acme", []asked{{"acme", "", true}, {"acme", "octo", true}, {"sb-1", "acme", false}}},
		{Target{Owner: "Acme"}, "owner Acme", []asked{{"sb-1", "acme", true}, {"sb-1", "ACME", true}, {"acme", "octo", false}, {"sb-1", "", false}}},
		{Target{App: true}, "everything of the App", []asked{{"sb-1", "", true}, {"sb-1", "octo", true}}},
	} {
		in, clock := new(storetest.Memory), time.Now()
		if err := in.Put(t.Context(), store.AppClientID(), store.NewSecret("Iv1.0"), store.Replace); err != nil {
			t.Fatal(err)
		}
		now := func() time.Time { return clock }
		var took []store.Blocks
		here, there := &List{Store: in, Now: now}, &List{Store: in, Now: now, OnAdded: func(b store.Blocks) { took = append(took, b) }}
		expect := func(when string, b *List, isBlocked bool) {
			t.Helper()
			for _, a := range c.asked {
				if got, err := b.BlockedFor(t.Context(), a.workspace, a.owner); err != nil || got != (a.want && isBlocked) {
					t.Errorf("%s, %s: BlockedFor(%s, %s) = %v, %v, want %v", c.target, when, a.workspace, a.owner, got, err, a.want && isBlocked)
				}
			}
		}
		expect("at first", here, false)
		expect("at first elsewhere", there, false)
		if err := here.Add(t.Context(), c.target); err != nil {
			t.Fatal(err)
		}
		expect("once taken", here, true)
		clock = clock.Add(listsEvery)
		expect("once taken elsewhere", there, true)
		if len(took) != 1 || took[0].Has("acme", "acme") != true {
			t.Errorf("%s: the other replica is told of %+v, want the block once", c.target, took)
		}
		if all, err := there.All(t.Context()); err != nil || all.IsEmpty() || !all.Without(took[0]).IsEmpty() {
			t.Errorf("%s: All = %+v, %v, want the block alone", c.target, all, err)
		}
		if err := here.Remove(t.Context(), c.target); err != nil {
			t.Fatal(err)
		}
		expect("once given back", here, false)
		clock = clock.Add(listsEvery)
		expect("once given back elsewhere", there, false)
		if err := c.target.Check(); err != nil || c.target.String() != c.said || len(took) != 1 {
			t.Errorf("%s: Check = %v, want %s; told of %d blocks, want 1", c.target, err, c.said, len(took))
		}
	}
	for _, bad := range []Target{{}, {Workspace: "a", Owner: "b"}, {Owner: "a", App: true}, {Workspace: "../a"}, {Owner: "a/b"}} {
		if err := bad.Check(); err == nil {
			t.Errorf("Check(%+v) = nil, want an error", bad)
		}
	}
}

func TestARevokedTokenIsKnownEverywhere(t *testing.T) {
	in, token := new(storetest.Memory), credential.NewToken("ghs_x", time.Now().Add(time.Hour))
	var here, there int
	one := &List{Store: in, OnAdded: func(b store.Blocks) { here += len(b.Tokens) }}
	other := &List{Store: in, OnAdded: func(b store.Blocks) { there += len(b.Tokens) }}
	if err := one.BlockToken(t.Context(), token, store.Name{}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Blocked(t.Context(), "sb-1"); err != nil || here != 1 || there != 1 {
		t.Errorf("told of %d and %d tokens, %v, want one each", here, there, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"BlockToken": one.BlockToken(gone, token, store.Name{}), "Block": one.Block(gone, "sb-1"), "Unblock": one.Unblock(gone, "sb-1"),
		"Block of a bad id": one.Block(t.Context(), "../x"), "Unblock of a bad id": one.Unblock(t.Context(), "../x"),
	} {
		if err == nil {
			t.Errorf("%s = nil, want an error: it is not in the store", name)
		}
	}
	if blocked, err := one.Blocked(t.Context(), "sb-1"); blocked || err != nil {
		t.Errorf("Blocked = %v, %v, want what the store has", blocked, err)
	}
}

// read counts how often a store is listed.
type read struct {
	store.Store
	times int
}

func (r *read) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	r.times++
	return r.Store.List(ctx, below)
}

// While there is no log yet, as after an upgrade, looks read the list.
func TestWithoutALogTheListIsReadOnceASecond(t *testing.T) {
	in, clock := &read{Store: new(storetest.Memory)}, time.Now()
	b := &List{Store: in, Now: func() time.Time { return clock }}
	for range 100 { // ten seconds
		if _, err := b.Blocked(t.Context(), "sb-1"); err != nil {
			t.Fatal(err)
		}
		clock = clock.Add(100 * time.Millisecond)
	}
	if in.times < 10 || in.times > 12 {
		t.Errorf("the list is read %d times in ten seconds, want about 11", in.times)
	}
}

// A block or an unblock leaves the other blocks as they are, before the store is read
// again.
func TestBlocksDoNotReplaceEachOther(t *testing.T) {
	clock := time.Now()
	b := &List{Store: new(storetest.Memory), Now: func() time.Time { return clock }}
	expect := func(when string, want ...bool) {
		t.Helper()
		for i, ask := range [][2]string{{"sb-1", ""}, {"sb-2", "acme"}, {"sb-2", "octo"}} {
			if got, err := b.BlockedFor(t.Context(), ask[0], ask[1]); err != nil || got != want[i] {
				t.Errorf("%s: BlockedFor(%s, %s) = %v, %v, want %v", when, ask[0], ask[1], got, err, want[i])
			}
		}
	}
	expect("at first", false, false, false)
	token := credential.NewToken("ghs_x", clock.Add(time.Hour))
	for _, err := range []error{b.Block(t.Context(), "sb-1"), b.Add(t.Context(), Target{Owner: "acme"}), b.BlockToken(t.Context(), token, store.Name{}), b.Add(t.Context(), Target{App: true})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("with the App", true, true, true)
	if err := b.Remove(t.Context(), Target{App: true}); err != nil {
		t.Fatal(err)
	}
	expect("without the App", true, true, false)
	if all, err := b.All(t.Context()); err != nil || len(all.Tokens) != 1 || all.App {
		t.Errorf("All = %+v, %v, want the token's mark, and not the App", all, err)
	}
	if err := b.Remove(t.Context(), Target{Owner: "ACME"}); err != nil {
		t.Fatal(err)
	}
	expect("without the owner", true, false, false)
	if err := b.Unblock(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	expect("without the workspace", false, false, false)
}

// A workspace blocked while a broker was suspended is blocked from its first answer on.
func TestBlocksAfterSleep(t *testing.T) {
	in, now := new(storetest.Memory), time.Now()
	blocks := &List{Store: in, Now: func() time.Time { return now }}
	if blocked, err := blocks.Blocked(t.Context(), "sb-1"); blocked || err != nil {
		t.Fatalf("Blocked = %v, %v, want no blocks", blocked, err)
	}
	if err := (&List{Store: in}).Block(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	now = clocktest.Slept(now, 2*time.Hour)
	if blocked, err := blocks.Blocked(t.Context(), "sb-1"); !blocked || err != nil {
		t.Errorf("Blocked = %v, %v after two hours of sleep, want it blocked", blocked, err)
	}
}

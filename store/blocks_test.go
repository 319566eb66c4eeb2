package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// Blocks of different kinds are never taken for each other, whatever the names.
func TestBlocks(t *testing.T) {
	s := new(storetest.Memory)
	put := func(n store.Name, err error) {
		t.Helper()
		if err == nil {
			err = s.Put(t.Context(), n, store.NewSecret(time.Now().String()), store.Replace)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(store.Blocked("acme"))
	put(store.BlockedOwner("Octo"))
	put(store.BlockedToken([8]byte{0xab}, time.Time{}), nil)
	b, err := store.ReadBlocks(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		workspace, owner string
		want             bool
	}{
		{"acme", "", true}, {"acme", "anybody", true}, {"octo", "", false}, {"x", "acme", false}, {"x", "octo", true}, {"x", "OCTO", true}, {"app", "", false}, {"ab00000000000000", "", false},
	} {
		if got := b.Has(c.workspace, c.owner); got != c.want {
			t.Errorf("Has(%q, %q) = %v, want %v", c.workspace, c.owner, got, c.want)
		}
	}
	if !b.Tokens["ab00000000000000"] || b.App {
		t.Errorf("ReadBlocks = %+v, want the token's mark, and not the App", b)
	}
	put(store.BlockedApp(), nil)
	if b, err = store.ReadBlocks(t.Context(), s); err != nil || !b.Has("x", "y") {
		t.Errorf("with the App blocked: %+v, %v, want everybody blocked", b, err)
	}
	for _, login := range []string{"", "../x", "a/b", "a.b"} {
		if n, err := store.BlockedOwner(login); err == nil {
			t.Errorf("BlockedOwner(%q) = %s, want an error", login, n)
		}
	}
}

// A block list that cannot be read differs from an empty one.
func TestBlocksThatCannotBeReadAreAnError(t *testing.T) {
	s := new(storetest.Memory)
	if err := s.Put(t.Context(), store.BlockedApp(), store.NewSecret("x"), store.Replace); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := store.ReadBlocks(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadBlocks = %+v, %v, want the store's error", b, err)
	}
}

func TestBlocksWithoutOthers(t *testing.T) {
	set := func(key string) map[string]bool { return map[string]bool{key: true} }
	for name, b := range map[string]store.Blocks{
		"the App": {App: true}, "an owner": {Owners: set("a")}, "a workspace": {Workspaces: set("a")}, "a token": {Tokens: set("a")},
	} {
		others := store.Blocks{Owners: set("b"), Workspaces: set("b"), Tokens: set("b")}
		if b.IsEmpty() || b.Without(others).IsEmpty() {
			t.Errorf("%s: Without others = %+v, want it to stay", name, b.Without(others))
		}
		if rest := b.Without(b); !rest.IsEmpty() {
			t.Errorf("%s: Without itself = %+v, want nothing", name, rest)
		}
	}
	two := store.Blocks{Owners: set("a"), Workspaces: set("a"), Tokens: set("a")}
	if two.IsEmpty() || !two.Without(two).IsEmpty() || !store.NewBlocks().IsEmpty() {
		t.Errorf("IsEmpty of %+v and of none = %v, %v, want false, true", two, two.IsEmpty(), store.NewBlocks().IsEmpty())
	}
}

func blockOf(t *testing.T, id string) store.Name {
	t.Helper()
	name, err := store.Blocked(id)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func block(t *testing.T, s store.Store, id string) {
	t.Helper()
	if err := store.Block(t.Context(), s, blockOf(t, id), store.NewSecret("x"), time.Time{}); err != nil {
		t.Fatalf("Block(%s) = %v", id, err)
	}
}

func logOf(t *testing.T, s store.Store) store.BlockLog {
	t.Helper()
	log, err := store.ReadBlockLog(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// Every change of the list gives it a new version, and the log says what was blocked.
func TestTheLogOfTheBlockList(t *testing.T) {
	s := new(storetest.Memory)
	if _, err := store.ReadBlockLog(t.Context(), s); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("ReadBlockLog = %v, want that there is none", err)
	}
	block(t, s, "sb-1")
	first := logOf(t, s)
	block(t, s, "sb-2")
	if err := store.Block(t.Context(), s, store.BlockedToken([8]byte{0xab}, time.Unix(1e9, 0)), store.NewSecret("x"), time.Now()); err != nil {
		t.Fatal(err)
	}
	now := logOf(t, s)
	names, _, ok := now.Since(first.Version())
	set := store.NewBlocks(names...)
	if !ok || set.Workspaces["sb-1"] || !set.Workspaces["sb-2"] || !set.Tokens["ab00000000000000"] || now.Version() == first.Version() {
		t.Errorf("Since = %+v, %v, want what was blocked after sb-1", set, ok)
	}
	if err := store.Unblock(t.Context(), s, blockOf(t, "sb-2")); err != nil {
		t.Fatal(err)
	}
	later := logOf(t, s)
	names, deleted, ok := later.Since(now.Version())
	if !ok || len(names) > 0 || !slices.Equal(deleted, []store.Name{blockOf(t, "sb-2")}) || later.Version() == now.Version() {
		t.Errorf("Since = %v, %v, %v after sb-2 was unblocked, want another version and sb-2 deleted", names, deleted, ok)
	}
	names, deleted, ok = later.Since(first.Version())
	if !ok || len(names) != 1 || len(deleted) != 1 {
		t.Errorf("Since = %v, %v, %v, want the token set and sb-2 deleted, once", names, deleted, ok)
	}
	if _, _, ok := now.Since("another"); ok {
		t.Error("a version that is not in the log is followed")
	}
	if blocks, err := store.ReadBlocks(t.Context(), s); err != nil || !maps.Equal(blocks.Workspaces, map[string]bool{"sb-1": true}) || blocks.App {
		t.Errorf("ReadBlocks = %+v, %v, want sb-1 alone: the log is not a block", blocks, err)
	}
}

// The log stays short enough for every store. A reader with a version that the log no
// longer has must read the list.
func TestTheLogForgets(t *testing.T) {
	s := new(storetest.Memory)
	block(t, s, "sb-first")
	first := logOf(t, s).Version()
	for i := range 100 {
		block(t, s, fmt.Sprint("sb-", i))
	}
	entry, err := s.Get(t.Context(), store.BlocksVersion())
	if err != nil || len(entry.Value.Reveal()) > 4000 {
		t.Errorf("the log has %d bytes, %v, want 4,000 at most", len(entry.Value.Reveal()), err)
	}
	log := logOf(t, s)
	if _, _, ok := log.Since(first); ok {
		t.Error("the log reaches back over a hundred changes")
	}
	if set, _, ok := log.Since(log.Steps[0].Version); !ok || len(set) != len(log.Steps)-1 || len(log.Steps) < 10 {
		t.Errorf("since its first step it has %d of %d steps, %v", len(set), len(log.Steps)-1, ok)
	}
	var many []string
	for i := range 100 {
		many = append(many, blockOf(t, fmt.Sprint("sb-", strings.Repeat("x", 60), i)).String())
	}
	if err := store.Announce(t.Context(), s, store.BlockStep{Set: many[:50], Deleted: many[50:]}); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := logOf(t, s).Since(log.Version()); ok {
		t.Error("a step that is too long for the log is followed")
	}
}

// A text that is not a log is a version that no other follows.
func TestALogThatIsNone(t *testing.T) {
	s := new(storetest.Memory)
	for _, text := range []string{"x", "{}", "[]", `[{"version":""}]`, `["a"]`, "[null]"} {
		if err := s.Put(t.Context(), store.BlocksVersion(), store.NewSecret(text), store.Replace); err != nil {
			t.Fatal(err)
		}
		if log := logOf(t, s); log.Version() != text {
			t.Errorf("the version of %s is %q", text, log.Version())
		}
	}
	both := []string{blockOf(t, "sb-1").String()}
	unclear := store.BlockLog{Steps: []store.BlockStep{{Version: "a", Set: both, Deleted: both}}}
	if set := unclear.Recent(); len(set) != 1 {
		t.Errorf("of one step that sets and deletes a block %v is set, want the block", set)
	}
	other := []string{"config/github/private-key"}
	for _, step := range []store.BlockStep{{Version: "b", Set: other}, {Version: "b", Deleted: other}} {
		odd := store.BlockLog{Steps: []store.BlockStep{{Version: "a"}, step}}
		if _, _, ok := odd.Since("a"); ok {
			t.Errorf("a step with a name that is not a block is followed: %+v", step)
		}
	}
	s.Damage(store.BlocksVersion())
	block(t, s, "sb-1")
	if log := logOf(t, s); len(log.Steps) != 1 {
		t.Errorf("a damaged log is followed by %+v, want a new one", log)
	}
}

// overwriting is a store where another writer, who read the log before the first write of
// it, writes it right after.
type overwriting struct {
	store.Store
	times int
}

func (o *overwriting) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	old, getErr := o.Store.Get(ctx, name)
	err := o.Store.Put(ctx, name, value, mode)
	if name == store.BlocksVersion() && getErr == nil && o.times > 0 {
		o.times--
		return o.Store.Put(ctx, name, old.Value, mode)
	}
	return err
}

// Two brokers that block in the same moment write over each other's log. The one that was
// written over looks, and writes again, so that no step is lost; and it says so where it
// cannot.
func TestTwoWritersOfTheLog(t *testing.T) {
	s := new(storetest.Memory)
	block(t, s, "sb-1")
	from := logOf(t, s).Version()
	block(t, &overwriting{s, 2}, "mine")
	if set, _, ok := logOf(t, s).Since(from); !ok || !slices.Contains(set, blockOf(t, "mine")) {
		t.Errorf("the log has %+v, %v, want mine in it", set, ok)
	}
	if err := store.Block(t.Context(), &overwriting{s, 1000}, blockOf(t, "mine"), store.NewSecret("x"), time.Time{}); err == nil {
		t.Error("Block = nil, want an error: its step is not in the log")
	}
}

// A block that cannot be announced is reported as failed, and can be made again.
func TestABlockThatCannotBeAnnounced(t *testing.T) {
	s := &failing{Store: new(storetest.Memory), isOff: true}
	if err := store.Block(t.Context(), s, blockOf(t, "sb-1"), store.NewSecret("x"), time.Time{}); err == nil {
		t.Fatal("Block = nil, want an error: other brokers are not told")
	}
	if blocks, err := store.ReadBlocks(t.Context(), s); err != nil || !blocks.Workspaces["sb-1"] {
		t.Errorf("ReadBlocks = %+v, %v, want sb-1: brokers that read the list find it", blocks, err)
	}
	s.isOff = false
	block(t, s, "sb-1")
	if logOf(t, s).Version() == "" {
		t.Error("the log has no version")
	}
}

// failing takes no log while it is off.
type failing struct {
	store.Store
	isOff bool
}

func (f *failing) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	if f.isOff && name == store.BlocksVersion() {
		return errors.New("the store is away")
	}
	return f.Store.Put(ctx, name, value, mode)
}

// Many that block at once are all in the log, or the log does not reach back.
func TestManyWritersOfTheLog(t *testing.T) {
	s := new(storetest.Memory)
	block(t, s, "sb-0")
	from := logOf(t, s).Version()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			_ = store.Block(t.Context(), s, blockOf(t, fmt.Sprint("sb-", i+1)), store.NewSecret("x"), time.Time{})
		})
	}
	all.Wait()
	if blocks, err := store.ReadBlocks(t.Context(), s); err != nil || len(blocks.Workspaces) != 5 {
		t.Errorf("ReadBlocks = %+v, %v, want five", blocks, err)
	}
	if logOf(t, s).Version() == from {
		t.Error("the version is what it was")
	}
}

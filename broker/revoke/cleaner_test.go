package revoke

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/storetest"
)

// A fleet is several replicas with one counted store, without a GitHub: nothing is
// revoked.
type fleet struct {
	t        testing.TB
	in       *storetest.Metered
	store    store.Store // the replicas' store; nil means in
	replicas []*Revoker
	stop     []func()
	running  sync.WaitGroup
}

// newFleet makes a store with AWS's limits: each call lists ten names and takes 15 ms;
// it answers 40 reads, 3 writes and 5 deletes per second.
func newFleet(t testing.TB) *fleet {
	f := &fleet{t: t, in: &storetest.Metered{Store: storetest.Plain(new(storetest.Memory)), Page: 10}}
	f.put(store.AppClientID(), "Iv1.0")
	return f
}

func (f *fleet) limit() {
	f.in.Latency, f.in.Reads, f.in.Puts, f.in.Deletes = 15*time.Millisecond, 40, 3, 5
	f.in.Taken()
}

func (f *fleet) put(name store.Name, value string) {
	f.t.Helper()
	if err := f.in.Store.Put(f.t.Context(), name, store.NewSecret(value), store.Replace); err != nil {
		f.t.Fatal(err)
	}
}

// workspaces gives n workspaces a record, and a token that expires at ends.
func (f *fleet) workspaces(n int, ends time.Time) {
	f.t.Helper()
	for i := range n {
		id := fmt.Sprintf("sb-%05d", i)
		record, err := store.Record(id)
		if err != nil {
			f.t.Fatal(err)
		}
		f.put(record, "x")
		f.put(f.vended(id, ends), "x")
	}
}

func (f *fleet) vended(id string, ends time.Time) store.Name {
	f.t.Helper()
	name, err := store.Vended(id, credential.NewToken("ghs_"+id, ends).ID(), ends)
	if err != nil {
		f.t.Fatal(err)
	}
	return name
}

// left counts the tokens of workspaces whose ids begin so.
func (f *fleet) left(begin string) (n int) {
	f.t.Helper()
	for name, err := range f.in.Store.List(f.t.Context(), store.Workspaces()) {
		if err != nil {
			f.t.Fatal(err)
		}
		if id, _ := name.Workspace(); name.IsVended() && strings.HasPrefix(id, begin) {
			n++
		}
	}
	return n
}

// start runs one more replica like gatepass-broker, until the returned function or the
// end of the test stops it.
func (f *fleet) start() *Revoker {
	in := f.store
	if in == nil {
		in = f.in
	}
	r := New(Config{
		Store: in, Blocklist: &blocklist.List{Store: in}, Cache: new(broker.Cache), Journal: new(brokertest.MemoryJournal),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Policy: func() string { return "" },
	})
	ctx, cancel := context.WithCancel(f.t.Context())
	for _, work := range []func() error{
		func() error { _, err := r.Reconcile(ctx); return err },
		func() error { _, err := r.DeleteExpired(ctx); return err },
	} {
		f.running.Go(func() {
			for ctx.Err() == nil {
				if err := work(); err != nil && ctx.Err() == nil {
					f.t.Error(err)
				}
				select {
				case <-time.After(2 * time.Second):
				case <-ctx.Done():
				}
			}
		})
	}
	f.replicas, f.stop = append(f.replicas, r), append(f.stop, cancel)
	return r
}

func (f *fleet) end() {
	for _, stop := range f.stop {
		stop()
	}
	f.running.Wait()
}

// holder returns the replica that has the lease, and its number.
func (f *fleet) holder() (int, *Revoker) {
	f.t.Helper()
	for i, r := range f.replicas {
		if r.progress.isHolder(r.Now()) {
			return i, r
		}
	}
	f.t.Fatal("no replica has the lease")
	return 0, nil
}

// With 10,000 workspaces and two replicas, cleaning never ended, and idle brokers used
// all reads that AWS allows an account. Now one replica does a round, which ends, and
// requests are answered meanwhile.
func TestARoundEndsAndRequestsComeFirst(t *testing.T) {
	for _, replicas := range []int{2, 4} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t)
			defer f.end()
			f.workspaces(10_000, time.Now().Add(time.Hour))
			for i := range 300 {
				f.put(f.vended(fmt.Sprintf("gone-%03d", i), time.Now().Add(-time.Hour)), "x")
			}
			f.limit()
			for range replicas {
				f.start()
			}
			time.Sleep(10 * time.Second)
			f.in.Taken()
			begun := time.Now()
			slowest := time.Duration(0)
			for i := 0; f.progressOfRound().Next.Before(begun); i++ {
				if time.Since(begun) > 15*time.Minute {
					t.Errorf("%d replicas: after %s the round is at %+v", replicas, time.Since(begun), f.progressOfRound())
					break
				}
				slowest = max(slowest, f.vend(f.replicas[i%replicas], i))
				time.Sleep(5 * time.Second)
			}
			took, calls := time.Since(begun), f.in.Taken()
			if n := f.left("gone"); n > 0 || f.left("sb") != 10_000 {
				t.Errorf("%d replicas: after the round %d entries are left that have run out, and %d that have not", replicas, n, f.left("sb"))
			}
			if rate := float64(calls.Gets+calls.Pages) / took.Seconds(); rate > 16 || slowest > 200*time.Millisecond {
				t.Errorf("%d replicas: the round takes %s and %.1f reads a second, and the slowest request %s", replicas, took, rate, slowest)
			}
			// Afterwards the store gets few calls.
			time.Sleep(time.Minute)
			f.in.Taken()
			time.Sleep(10 * time.Minute)
			if calls := f.in.Taken(); calls.All() > 600/2 {
				t.Errorf("%d idle replicas make %+v calls in ten minutes, want less than one in two seconds", replicas, calls)
			}
			t.Logf("%d replicas: a round of 10,000 workspaces takes %s and %+v, and the slowest request meanwhile %s", replicas, took, calls, slowest)
		})
	}
}

func (f *fleet) progressOfRound() note {
	_, r := f.holder()
	return r.progress.get()
}

// vend does the store calls of one workspace request, and returns how long they took.
func (f *fleet) vend(r *Revoker, i int) time.Duration {
	f.t.Helper()
	begun := time.Now()
	blocked, err := r.Blocklist.Blocked(f.t.Context(), "asker")
	if blocked || err != nil {
		f.t.Fatalf("Blocked = %v, %v, want the request answered", blocked, err)
	}
	keeper := &broker.VendLog{Store: f.in}
	token := credential.NewToken(fmt.Sprint("ghs_asker", i), time.Now().Add(-time.Hour)) // it is also tidied
	if err := keeper.Record(f.t.Context(), broker.Workspace{ID: "asker"}, token); err != nil {
		f.t.Fatal(err)
	}
	return time.Since(begun)
}

// A replica without the lease asks only when the holder's lease ends; the holder looks
// for blocks every five seconds.
func TestAnIdleReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.end()
		for i := range 400 {
			name, err := store.Blocked(fmt.Sprint("blocked-", i))
			if err != nil {
				t.Fatal(err)
			}
			f.put(name, "x")
		}
		if err := store.Announce(t.Context(), f.in, store.BlockStep{}); err != nil {
			t.Fatal(err)
		}
		f.limit()
		f.start()
		time.Sleep(30 * time.Minute)
		f.in.Taken()
		time.Sleep(4 * time.Minute)
		alone := f.in.Taken()
		if alone.All() > 4*60 || alone.Puts > 20 {
			t.Errorf("the holder makes %+v calls in four minutes, want less than one a second", alone)
		}
		for range 3 {
			f.start()
		}
		time.Sleep(time.Minute)
		f.in.Taken()
		time.Sleep(4 * time.Minute)
		if four := f.in.Taken(); four.All()-alone.All() > 3*16 {
			t.Errorf("three more replicas make %+v calls in four minutes, and one alone %+v; want sixteen reads for each more", four, alone)
		}
		f.end()
	})
}

// Pauses did not depend on calls of the store but on the time between two names of a
// list, so a store that answers fast got all calls at once.
func TestAFastStoreIsPausedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.end()
		f.workspaces(1000, time.Now().Add(time.Hour))
		f.in.Page = 10
		f.start()
		time.Sleep(time.Minute)
		f.in.Taken()
		time.Sleep(time.Minute)
		if calls := f.in.Taken(); calls.Pages == 0 || calls.All() > 60 {
			t.Errorf("an idle replica makes %+v calls in a minute of its round, want less than one a second", calls)
		}
	})
}

// folderCalls is a store that needs a call for each name of a page, like Vault.
type folderCalls struct {
	store.Store
	pager store.Pager
	calls atomic.Int64
}

func (s *folderCalls) Page(ctx context.Context, below store.Prefix, after store.Name, limit int) ([]store.Name, error) {
	names, err := s.pager.Page(ctx, below, after, limit)
	for range names {
		if s.calls.Add(1); err == nil {
			err = store.Pause(ctx, time.Millisecond)
		}
	}
	return names, err
}

// An idle broker with 10,000 workspaces made 40 calls of Vault per second: it counted a
// page, which takes hundreds of calls, as one.
func TestAnIdleReplicaCountsTheCallsOfAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := newFleet(t), new(storetest.Memory)
		defer f.end()
		s := &folderCalls{Store: m, pager: m}
		f.in.Store, f.store = m, s
		f.workspaces(1000, time.Now().Add(time.Hour))
		f.start()
		time.Sleep(time.Minute)
		s.calls.Store(0)
		time.Sleep(time.Minute)
		if n := s.calls.Load(); n == 0 || n > 60 {
			t.Errorf("an idle replica makes %d calls in a minute of its round, want less than one a second", n)
		}
	})
}

// folderLists counts lists of one workspace.
type folderLists struct {
	store.Store
	times atomic.Int64
}

func (l *folderLists) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	if strings.HasPrefix(below.String(), store.Workspaces().String()+"/") {
		l.times.Add(1)
	}
	return l.Store.List(ctx, below)
}

// A broker that started checked each block in the log of the block list for two
// minutes, although the log was days old.
func TestOldBlocksAreNotLookedAt(t *testing.T) {
	for _, c := range []struct {
		name  string
		age   time.Duration
		looks bool
	}{{"of today", time.Minute, true}, {"of yesterday", 24 * time.Hour, false}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t)
			defer f.end()
			seen := &folderLists{Store: f.in}
			f.store = seen
			for i := range 20 {
				name, err := store.Blocked(fmt.Sprint("blocked-", i))
				if err == nil {
					err = store.Block(t.Context(), f.in, name, store.NewSecret("x"), time.Time{})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(c.age)
			f.start()
			time.Sleep(10 * time.Minute)
			if n := seen.times.Load(); n > 0 != c.looks {
				t.Errorf("blocks %s: their workspaces are listed %d times", c.name, n)
			}
		})
	}
}

// When the holder ends, another goes on from there: at once after a normal end, and
// after half a minute if it died.
func TestARoundGoesOnAtAnotherReplica(t *testing.T) {
	for name, die := range map[string]func(*fleet, int){
		"stopped": func(f *fleet, i int) {
			f.stop[i]()
			if err := f.replicas[i].Release(f.t.Context()); err != nil {
				f.t.Error(err)
			}
		},
		"killed": func(f *fleet, i int) { f.stop[i]() },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t)
			defer f.end()
			f.workspaces(500, time.Now().Add(-time.Hour))
			f.limit()
			for range 2 {
				f.start()
			}
			for f.left("") > 250 {
				time.Sleep(time.Second)
			}
			i, _ := f.holder()
			die(f, i)
			time.Sleep(3 * time.Minute)
			if other, _ := f.holder(); other == i {
				t.Errorf("%s: replica %d has the lease still", name, i)
			}
			time.Sleep(10 * time.Minute)
			if n := f.left(""); n > 0 {
				t.Errorf("%s: %d entries are left", name, n)
			}
		})
	}
}

// pages is a store with pages, and remembers where they began.
type pages struct {
	store.Store
	store.Pager
	after []string
}

func (p *pages) Page(ctx context.Context, below store.Prefix, after store.Name, limit int) ([]store.Name, error) {
	if below == store.Workspaces() {
		p.after = append(p.after, after.String())
	}
	return p.Pager.Page(ctx, below, after, limit)
}

// In a store with pages, the next replica begins where the last one stopped.
func TestPagesGoOnWhereTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := newFleet(t), new(storetest.Memory)
		defer f.end()
		p := &pages{Store: m, Pager: m}
		f.in.Store, f.store = m, p
		f.workspaces(1000, time.Now().Add(time.Hour))
		for i := range 1000 { // the first replica deletes at most 400 of these
			f.put(f.vended(fmt.Sprintf("t-%03d", i), time.Now().Add(-time.Hour)), "x")
		}
		for n := range 2 {
			r := f.start()
			time.Sleep(time.Duration(4+16*n) * time.Second)
			f.stop[n]()
			f.running.Wait()
			if err := r.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		again := slices.ContainsFunc(p.after[min(5, len(p.after)):], func(after string) bool { return after < "sandbox/sb-00999" })
		if len(p.after) < 6 || p.after[0] != "" || again {
			t.Errorf("the pages began after %q, want the second replica to begin at the last", p.after)
		}
		if n := f.left("t-"); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

// All four kinds of store delete only expired entries; entries whose names do not tell
// their expiry are read.
func TestEveryKindOfStoreIsTidied(t *testing.T) {
	if testing.Short() {
		t.Skip("tidies thousands of entries")
	}
	indexed := func(m *storetest.Memory) store.Store { return m }
	paged := func(m *storetest.Memory) store.Store {
		return struct {
			store.Store
			store.Pager
		}{m, m}
	}
	for name, kind := range map[string]func(*storetest.Memory) store.Store{"with an index": indexed, "with pages": paged, "with lists": func(m *storetest.Memory) store.Store { return storetest.Plain(m) }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.revoker.Store = kind(b.Store)
			id := credential.NewToken("ghs_x", b.Now()).ID()
			put := func(name store.Name, err error, value string, due time.Time) store.Name {
				t.Helper()
				if err == nil {
					err = store.PutDue(t.Context(), b.Store, name, store.NewSecret(value), store.Replace, due)
				}
				if err != nil {
					t.Fatal(err)
				}
				return name
			}
			past, later := b.Now().Add(-time.Hour), b.Now().Add(time.Hour)
			vended := func(workspace string, ends time.Time) (store.Name, error) { return store.Vended(workspace, id, ends) }
			over, err := vended("a", past)
			gone := []store.Name{put(over, err, "x", past)}
			old, err := vended("b", time.Time{})
			gone = append(gone, put(old, err, `{"token":"ghs_y","expires_at":"`+past.UTC().Format(time.RFC3339)+`"}`, past))
			gone = append(gone, put(store.BlockedToken(id, past), nil, "x", past))
			if won, err := store.Claim(t.Context(), b.Store, store.UsedProof([32]byte{1}), past); !won || err != nil {
				t.Fatal(won, err)
			}
			gone = append(gone, store.UsedProof([32]byte{1}))
			live, err := vended("c", later)
			stays := []store.Name{put(live, err, "x", later)}
			record, err := store.Record("d")
			stays = append(stays, put(record, err, "x", past)) // it is due for a refresh
			block, err := store.Blocked("e")
			stays = append(stays, put(block, err, "x", time.Time{}))
			stays = append(stays, put(store.BlockedToken([8]byte{9}, later), nil, "x", later))
			if won, err := store.Claim(t.Context(), b.Store, store.Delivery([32]byte{1}), past); !won || err != nil {
				t.Fatal(won, err)
			}
			stays = append(stays, store.Delivery([32]byte{1}))
			if n := b.clean(); n != len(gone) {
				t.Errorf("%d entries are deleted, want %d", n, len(gone))
			}
			for _, name := range gone {
				if _, err := b.Store.Get(t.Context(), name); err == nil {
					t.Errorf("%s is left", name)
				}
			}
			for _, name := range stays {
				if _, err := b.Store.Get(t.Context(), name); err != nil {
					t.Errorf("%s: %v, want it there", name, err)
				}
			}
		})
	}
}

// Settling 400 blocks took a sweep each, on each replica after each start. Now a
// replica that takes the lease learns from its note that they were done; of the others it
// sweeps only blocks younger than a token can be.
func TestBlocksSettleOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.end()
		for i := range 400 {
			name, err := store.Blocked(fmt.Sprintf("old-%03d", i))
			if err != nil {
				t.Fatal(err)
			}
			f.put(name, "x")
		}
		time.Sleep(2 * time.Hour)
		young, err := store.Blocked("a-young")
		if err != nil {
			t.Fatal(err)
		}
		f.put(young, "x")
		if err := store.Announce(t.Context(), f.in, store.BlockStep{Set: []string{young.String()}}); err != nil {
			t.Fatal(err)
		}
		f.limit()
		first := f.start()
		time.Sleep(25 * time.Minute)
		if got := f.in.Taken(); got.Gets < 400 || got.Gets > 25*60 {
			t.Errorf("%+v calls, want every block read once, and less than a read a second, by the first that finds no note", got)
		}
		first.reconciler.mu.Lock()
		for target, s := range first.reconciler.targets {
			if !s.done {
				t.Errorf("%s has not settled", target)
			}
		}
		first.reconciler.mu.Unlock()
		time.Sleep(2 * leaseLife) // the note is written
		f.end()
		if err := first.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.in.Taken()
		f.start()
		time.Sleep(20 * time.Second)
		if got := f.in.Taken(); got.Gets > 10 || got.Pages > 2*41+10 {
			t.Errorf("the next replica makes %+v calls, want none for any of 401 blocks", got)
		}
		f.end()
	})
}

// The most recent block is handled first.
func TestTheMostRecentBlockSettlesFirst(t *testing.T) {
	now := time.Now()
	r := reconciler{targets: map[blocklist.Target]*targetState{
		workspaceTarget("a"): {since: now.Add(-3 * time.Minute)}, workspaceTarget("b"): {since: now}, workspaceTarget("c"): {since: now.Add(-time.Minute)},
		workspaceTarget("done"): {done: true}, workspaceTarget("later"): {since: now, nextCheck: now.Add(time.Second)},
	}}
	var order []string
	for _, target := range r.due(now) {
		order = append(order, target.Workspace)
	}
	if got := strings.Join(order, " "); got != "b c a" {
		t.Errorf("the order is %s, want b c a", got)
	}
}

// The entry of a token that an older replica gave does not have the expiry in its name.
// Its mark has none either, because that replica understands no other.
func TestMarksForTheVersionBefore(t *testing.T) {
	b := newBench(t)
	token := credential.NewToken(b.MustToken("sb-1", "acme/widgets", "read"), b.Now().Add(time.Hour))
	b.MustToken("ci", "acme/widgets", "read")
	for name := range b.Store.List(t.Context(), store.Workspaces()) {
		if id, _ := name.Workspace(); !name.IsVended() || id != "sb-1" {
			continue
		}
		entry, err := b.Store.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		old, err := store.Vended("sb-1", token.ID(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{b.Store.Delete(t.Context(), name), b.Store.Put(t.Context(), old, entry.Value, store.Replace)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	b.revoke(workspaceTarget("sb-1"), 0)
	b.revoke(workspaceTarget("ci"), 0)
	dated, plain := 0, 0
	for name := range b.Store.List(t.Context(), store.AllBlocks()) {
		if _, ok := name.Ends(); ok {
			dated++
		} else if name.IsBlockedToken() {
			plain++
			if name != store.BlockedToken(token.ID(), time.Time{}) {
				t.Errorf("the mark is %s", name)
			}
		}
	}
	if dated != 1 || plain != 1 || len(b.alive()) != 0 {
		t.Errorf("%d marks say when they end and %d do not, and %q are alive", dated, plain, b.alive())
	}
}

// After an upgrade there is no log of the block list until a block is added, and every
// look lists. The replica that cleans makes one, once no older replica is left.
func TestALogIsMadeAfterAnUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.end()
		f.start()
		for _, c := range []struct {
			after time.Duration
			want  bool
		}{{9 * time.Minute, false}, {11 * time.Minute, true}} {
			time.Sleep(c.after)
			if _, err := store.ReadBlockLog(t.Context(), f.in); (err == nil) != c.want {
				t.Errorf("after %s more: ReadBlockLog = %v, want a log: %v", c.after, err, c.want)
			}
		}
	})
}

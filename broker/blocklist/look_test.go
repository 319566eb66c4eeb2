package blocklist

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// withBlocked makes a store like AWS's Parameter Store, with n blocked workspaces: each
// call lists ten names and takes 15 ms.
func withBlocked(t testing.TB, n int) *storetest.Metered {
	t.Helper()
	in := &storetest.Metered{Store: new(storetest.Memory), Page: 10}
	if err := in.Put(t.Context(), store.AppClientID(), store.NewSecret("Iv1.0"), store.Replace); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name, err := store.Blocked(fmt.Sprint("sb-", i))
		if err == nil {
			err = store.PutBlock(t.Context(), in, name, store.NewSecret("x"), time.Time{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Announce(t.Context(), in, store.BlockStep{}); err != nil {
		t.Fatal(err)
	}
	in.Latency, in.Reads, in.Puts = 15*time.Millisecond, 40, 3
	in.Taken()
	return in
}

// ask asks every 10 ms, for so long, whether a workspace is blocked, and returns the
// time of the slowest answer.
func ask(t testing.TB, b *List, id string, long time.Duration) (slowest time.Duration) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < long; time.Sleep(10 * time.Millisecond) {
		asked := time.Now()
		if blocked, err := b.Blocked(t.Context(), id); blocked || err != nil {
			t.Fatalf("Blocked = %v, %v after %s, want it let in", blocked, err, time.Since(begun))
		}
		slowest = max(slowest, time.Since(asked))
	}
	return slowest
}

// With 400 blocked workspaces and two replicas, reading the list took all calls that
// AWS allows, and requests waited for it: 11 tokens in 47 s. Now a look is one read,
// twice a second; the list is read every half minute.
func TestALookIsOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := withBlocked(t, 400)
		replicas := []*List{{Store: in}, {Store: in}}
		var all sync.WaitGroup
		for _, b := range replicas {
			all.Go(func() {
				if err := b.Check(t.Context()); err != nil {
					t.Errorf("Check = %v, want the list read", err)
				}
			})
		}
		all.Wait()
		time.Sleep(10 * time.Second)
		ask(t, replicas[0], "other", time.Second) // the reading after the first list
		time.Sleep(time.Second)
		in.Taken()
		slowest := ask(t, replicas[0], "other", 15*time.Second)
		if calls := in.Taken(); calls.All() < 28 || calls.All() > 33 || calls.Pages > 0 || slowest > 20*time.Millisecond {
			t.Errorf("15 s of requests make %+v calls, and the slowest takes %s, want two looks a second of 15 ms", calls, slowest)
		}
		time.Sleep(time.Minute)
		if calls := in.Taken(); calls.All() != 0 {
			t.Errorf("a minute without requests makes %+v calls, want none", calls)
		}
		slowest = ask(t, replicas[0], "other", 2*time.Minute)
		if calls := in.Taken(); calls.Pages < 41 || calls.Pages > 3*41 || calls.Gets > 270 || slowest > 40*time.Millisecond {
			t.Errorf("two minutes make %+v calls, and the slowest takes %s, want two lists of 41 pages", calls, slowest)
		}
	})
}

// A block holds at every replica after one second, however many blocks there are and
// however long the list takes, and no other workspace is refused meanwhile. An unblock
// takes effect once the list was read.
func TestABlockReachesABusyReplicaInASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := withBlocked(t, 1500) // reading this list takes four seconds
		here, there := &List{Store: in}, &List{Store: in}
		_ = there.Check(t.Context())
		time.Sleep(time.Minute)
		ask(t, there, "other", 10*time.Second)
		for i := range 5 {
			id := fmt.Sprint("new-", i)
			if err := here.Block(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			slowest := ask(t, there, "other", time.Second)
			if blocked, err := there.Blocked(t.Context(), id); !blocked || err != nil || slowest > blocksCallerWait {
				t.Errorf("Blocked = %v, %v %s after the block, and the slowest of others took %s", blocked, err, time.Since(begun), slowest)
			}
		}
		if err := here.Unblock(t.Context(), "new-0"); err != nil {
			t.Fatal(err)
		}
		ask(t, there, "other", time.Minute)
		if blocked, err := there.Blocked(t.Context(), "new-0"); blocked || err != nil {
			t.Errorf("Blocked = %v, %v a minute after the block was lifted, want it let in", blocked, err)
		}
		if blocked, err := there.Blocked(t.Context(), "new-1"); !blocked || err != nil {
			t.Errorf("Blocked = %v, %v of one that is blocked, want it blocked still", blocked, err)
		}
		time.Sleep(time.Minute) // let the last readings end
	})
}

// Blocks of a replica that died before it announced them, and of older replicas, are
// found within half a minute.
func TestABlockThatWasNotAnnouncedIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := withBlocked(t, 10)
		b := &List{Store: in}
		ask(t, b, "sb-x", time.Minute)
		name, err := store.Blocked("sb-x")
		if err == nil {
			err = in.Put(t.Context(), name, store.NewSecret("x"), store.Replace)
		}
		if err != nil {
			t.Fatal(err)
		}
		ask(t, b, "other", listEvery)
		if blocked, err := b.Blocked(t.Context(), "sb-x"); !blocked || err != nil {
			t.Errorf("Blocked = %v, %v after %s, want it blocked", blocked, err, listEvery)
		}
		time.Sleep(time.Minute)
	})
}

// While no replica has written a log, as during an upgrade, blocks without a log hold
// within a second; and the first log is found.
func TestReplicasOfTheVersionBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := new(storetest.Memory)
		b := &List{Store: in}
		ask(t, b, "old", 10*time.Second)
		name, err := store.Blocked("old")
		if err == nil {
			err = in.Put(t.Context(), name, store.NewSecret("x"), store.Replace)
		}
		if err != nil {
			t.Fatal(err)
		}
		ask(t, b, "other", time.Second)
		if blocked, err := b.Blocked(t.Context(), "old"); !blocked || err != nil {
			t.Errorf("Blocked = %v, %v, want it blocked without a log", blocked, err)
		}
		if err := (&List{Store: in}).Block(t.Context(), "new"); err != nil {
			t.Fatal(err)
		}
		ask(t, b, "other", time.Second)
		if blocked, err := b.Blocked(t.Context(), "new"); !blocked || err != nil {
			t.Errorf("Blocked = %v, %v, want it blocked with the first log", blocked, err)
		}
		ask(t, b, "other", time.Minute)
		if b.version == "" {
			t.Error("after a minute the log is not followed")
		}
		time.Sleep(time.Minute)
	})
}

// A block that other replicas cannot learn of is reported as failed, but holds here.
func TestABlockThatCannotBeAnnouncedFails(t *testing.T) {
	in := &silent{Store: new(storetest.Memory), isOff: true}
	b := &List{Store: in}
	if err := b.Block(t.Context(), "sb-1"); err == nil {
		t.Error("Block = nil, want an error: others do not know")
	}
	if blocked, err := b.Blocked(t.Context(), "sb-1"); !blocked || err != nil {
		t.Errorf("Blocked = %v, %v, want it blocked here: it is in the store", blocked, err)
	}
	if err := b.Unblock(t.Context(), "sb-1"); err == nil {
		t.Error("Unblock = nil, want an error: others do not know")
	}
	in.isOff = false
	if err := b.Block(t.Context(), "sb-1"); err != nil {
		t.Errorf("Block again = %v", err)
	}
}

type silent struct {
	store.Store
	isOff bool
}

func (s *silent) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	if s.isOff && name == store.BlocksVersion() {
		return errors.New("the store is away")
	}
	return s.Store.Put(ctx, name, value, mode)
}

// writing is a store where an entry of a blocked workspace is written when write is
// closed.
type writing struct {
	store.Store
	write chan struct{}
}

func (w *writing) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	if name != store.BlocksVersion() {
		select {
		case <-w.write:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return w.Store.Put(ctx, name, value, mode)
}

// checkAll checks for so long that each replica says whether sb-x is blocked.
func checkAll(t *testing.T, replicas []*List, want bool, long time.Duration) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < long; time.Sleep(100 * time.Millisecond) {
		for i, b := range replicas {
			if blocked, err := b.Blocked(t.Context(), "sb-x"); blocked != want || err != nil {
				t.Fatalf("after %s replica %d says Blocked = %v, %v, want %v", time.Since(begun), i, blocked, err, want)
			}
		}
	}
}

// A store may take its time for the entry of a block. The block holds everywhere as soon as
// the log has it, also where the list is read meanwhile.
func TestABlockHoldsBeforeItsEntryIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := withBlocked(t, 10)
		slow := &writing{Store: in, write: make(chan struct{})}
		here, there := &List{Store: slow}, &List{Store: in}
		checkAll(t, []*List{here, there}, false, time.Minute)

		blocked := make(chan error, 1)
		go func() { blocked <- here.Block(t.Context(), "sb-x") }()
		time.Sleep(time.Second)
		_ = there.Check(t.Context())
		time.Sleep(100 * time.Millisecond)
		begunNow := &List{Store: in}
		checkAll(t, []*List{here, there, begunNow}, true, 20*time.Second) // each reads the list twice
		close(slow.write)
		if err := <-blocked; err != nil {
			t.Fatal(err)
		}
		checkAll(t, []*List{here, there, begunNow}, true, time.Minute)

		if err := here.Unblock(t.Context(), "sb-x"); err != nil {
			t.Fatal(err)
		}
		checkAll(t, []*List{here}, false, time.Second)
		for _, b := range []*List{there, begunNow} {
			_ = b.Check(t.Context())
		}
		time.Sleep(time.Second)
		checkAll(t, []*List{here, there, begunNow}, false, time.Minute)
	})
}

// A block that is lifted soon after is lifted at other replicas within a second.
func TestAYoungBlockIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := withBlocked(t, 10)
		here, there := &List{Store: in}, &List{Store: in}
		checkAll(t, []*List{here, there}, false, time.Minute)
		for range 3 {
			if err := here.Block(t.Context(), "sb-x"); err != nil {
				t.Fatal(err)
			}
			_ = there.Check(t.Context())
			time.Sleep(time.Second)
			checkAll(t, []*List{here, there}, true, 2*time.Second)
			if err := here.Unblock(t.Context(), "sb-x"); err != nil {
				t.Fatal(err)
			}
			_ = there.Check(t.Context())
			time.Sleep(time.Second)
			checkAll(t, []*List{here, there}, false, 10*time.Second)
		}
	})
}

// A replica that dies before it writes the entry leaves no block behind: the list is what
// counts in the end.
func TestABlockThatWasNeverWrittenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := withBlocked(t, 10)
		there := &List{Store: in}
		checkAll(t, []*List{there}, false, time.Minute)
		name, err := store.Blocked("sb-x")
		if err == nil {
			err = store.Announce(t.Context(), in, store.BlockStep{Set: []string{name.String()}})
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_ = there.Check(t.Context())
		time.Sleep(100 * time.Millisecond)
		checkAll(t, []*List{there}, true, writeTime-2*time.Second)
		for begun := time.Now(); time.Since(begun) < 2*time.Minute; time.Sleep(100 * time.Millisecond) {
			_, _ = there.Blocked(t.Context(), "sb-x")
		}
		checkAll(t, []*List{there}, false, time.Minute)
	})
}

// A sweep marks hundreds of tokens at once. Each has an entry, and they share few
// announcements.
func TestMarksShareAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := withBlocked(t, 1)
		in.Puts = 0
		b := &List{Store: in}
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				token := credential.NewToken(fmt.Sprint("ghs_", i), time.Now().Add(time.Hour))
				if err := b.BlockToken(t.Context(), token, store.Name{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if calls := in.Taken(); calls.Puts > 20+2 {
			t.Errorf("20 marks make %+v calls, want two announcements at most", calls)
		}
		if blocks, err := store.ReadBlocks(t.Context(), in); err != nil || len(blocks.Tokens) != 20 {
			t.Errorf("ReadBlocks = %d tokens, %v, want 20", len(blocks.Tokens), err)
		}
		other := &List{Store: in}
		if all, err := other.All(t.Context()); err != nil || len(all.Tokens) != 20 {
			t.Errorf("All = %d tokens, %v, want 20", len(all.Tokens), err)
		}
	})
}

// A list that fails while the log can be read is counted, but refuses no request: the
// log shows no change.
func TestAListThatFailsBesideItsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := withBlocked(t, 3)
		s := &stuck{Store: in, before: func(context.Context) error { return nil }}
		var told atomic.Int64
		b := &List{Store: s, OnError: func(error) { told.Add(1) }}
		ask(t, b, "other", 10*time.Second)
		s.before = hang
		ask(t, b, "other", 2*time.Minute)
		time.Sleep(time.Minute)
		if b.FailedReadings() == 0 || told.Load() != 0 {
			t.Errorf("%d failures are counted and %d told, want some and none", b.FailedReadings(), told.Load())
		}
		// A replica without any list refuses everyone.
		if blocked, err := (&List{Store: s}).Blocked(t.Context(), "other"); !blocked || err == nil {
			t.Errorf("Blocked = %v, %v of a replica that read no list, want an error", blocked, err)
		}
		time.Sleep(time.Minute)
	})
}

// told is a store that reports changes at once.
type told struct {
	store.Store
	mu      sync.Mutex // guards changed
	changed func()
}

func (w *told) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	err := w.Store.Put(ctx, name, value, mode)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed != nil {
		w.changed()
	}
	return err
}

func (w *told) Watch(ctx context.Context, _ store.Prefix, changed func()) error {
	w.mu.Lock()
	w.changed = changed
	w.mu.Unlock()
	changed()
	<-ctx.Done()
	return ctx.Err()
}

// If the store reports changes, a block holds at other replicas at once, even at one
// without requests; and a slow list does not stop the watch.
func TestAWatchedBlockHoldsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &told{Store: withBlocked(t, 1500)}
		var took atomic.Int64
		b := &List{Store: in, OnAdded: func(added store.Blocks) { took.Add(int64(len(added.Workspaces))) }}
		_ = b.Check(t.Context())
		time.Sleep(time.Minute)
		ctx, stop := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() { b.Watch(ctx) })
		time.Sleep(time.Minute)
		took.Store(0)
		for i := range 3 {
			if err := (&List{Store: in}).Block(t.Context(), fmt.Sprint("new-", i)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			if n := took.Load(); n != int64(i+1) {
				t.Errorf("100 ms after block %d this replica knows of %d", i+1, n)
			}
		}
		stop()
		watching.Wait()
		time.Sleep(2 * time.Minute)
	})
}

// BenchmarkALook measures a request to a replica that must look, with 400 blocked
// workspaces.
func BenchmarkALook(b *testing.B) {
	in := withBlocked(b, 400)
	in.Latency, in.Reads, in.Puts = 0, 0, 0
	blocks := &List{Store: in, Every: time.Nanosecond}
	if err := blocks.Check(b.Context()); err != nil {
		b.Fatal(err)
	}
	in.Taken()
	for b.Loop() {
		if err := blocks.Check(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	calls := in.Taken()
	b.ReportMetric(float64(calls.Gets)/float64(b.N), "reads/op")
	b.ReportMetric(float64(calls.Pages)/float64(b.N), "pages/op")
}

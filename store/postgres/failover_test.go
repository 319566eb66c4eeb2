//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

// A clerk counts in one entry by Swap, and beside it makes an entry for each number.
type clerk struct {
	t       *testing.T
	s       *Store
	id      int
	version string
	done    atomic.Int64 // the last number that was acknowledged, in both
	failed  atomic.Int64
}

func (c *clerk) counter() store.Name {
	n, _ := store.Record(fmt.Sprint("c", c.id)) // the id is well-formed
	return n
}

func (c *clerk) note(n int64) store.Name {
	name, _ := store.Token(fmt.Sprint("c", c.id), fmt.Sprint("n", n))
	return name
}

// work counts until ctx ends. A write that failed may have been done: it looks.
func (c *clerk) work(ctx context.Context) {
	for n := int64(1); ctx.Err() == nil; n++ {
		text := strconv.FormatInt(n, 10)
		version, err := c.s.Swap(ctx, c.counter(), store.NewSecret(text), c.version, noon)
		if err == nil {
			err = c.s.Put(ctx, c.note(n), store.NewSecret(text), store.CreateOnly)
		}
		if errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrExists) {
			c.t.Errorf("clerk %d: write %d = %v, and there is no other clerk for it", c.id, n, err)
			return
		}
		if err != nil && ctx.Err() == nil {
			c.failed.Add(1)
			c.t.Errorf("clerk %d: write %d = %v, want it repeated", c.id, n, err)
			return
		}
		if err == nil {
			c.version = version
			c.done.Store(n)
		}
	}
}

// check wants everything that was acknowledged.
func (c *clerk) check(s *Store) {
	c.t.Helper()
	done := c.done.Load()
	e, err := s.Get(c.t.Context(), c.counter())
	counted, _ := strconv.ParseInt(e.Value.Reveal(), 10, 64)
	if err != nil || counted < done || counted > done+1 {
		c.t.Errorf("clerk %d counted to %d, %v, want %d, or the next that was not acknowledged", c.id, counted, err, done)
	}
	for n := int64(1); n <= done; n++ {
		if _, err := s.Get(c.t.Context(), c.note(n)); err != nil {
			c.t.Errorf("clerk %d: note %d of %d was acknowledged: %v", c.id, n, done, err)
		}
	}
}

// clerks write while trouble happens, and for a while after it.
func clerks(t *testing.T, address string, trouble func(progress func())) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all [4]*clerk
	var wg sync.WaitGroup
	for i := range all {
		c := &clerk{t: t, s: openStore(t, address), id: i}
		all[i] = c
		wg.Go(func() { c.work(ctx) })
	}
	progress := func() {
		t.Helper()
		for _, c := range all {
			from := c.done.Load()
			for deadline := time.Now().Add(2 * time.Minute); c.done.Load() < from+5 && !t.Failed(); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("clerk %d does not go on", c.id)
				}
			}
		}
	}
	progress()
	trouble(progress)
	progress()
	cancel()
	wg.Wait()
	s, sum := openStore(t, address), int64(0)
	for _, c := range all {
		c.check(s)
		sum += c.done.Load()
	}
	t.Logf("%d writes were acknowledged, and are there", 2*sum)
}

// A server that is killed and started again in the middle of writes loses none that it
// acknowledged, none is done twice, and no caller sees more of it than a wait.
func TestRealKilledWhileWriting(t *testing.T) {
	server := migrated(t, onDisk)
	clerks(t, server.URL(""), func(progress func()) {
		for range 3 {
			server.Kill()
			server.Start()
			progress()
		}
	})
}

// With synchronous replication, a standby that takes over has every write that was
// acknowledged. Watch goes on.
func TestRealFailover(t *testing.T) {
	primary := migrated(t, onDisk)
	standby := primary.Replica()
	address := primary.URL("", standby)
	heard := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = openStore(t, address).Watch(ctx, store.AllBlocks(), func() {
			select {
			case heard <- struct{}{}:
			default:
			}
		})
	}()
	awaitCall(t, heard, "the beginning")
	clerks(t, address, func(func()) {
		begun := time.Now()
		primary.Kill()
		standby.Promote()
		awaitCall(t, heard, "the failover")
		t.Logf("watching again %s after the kill", time.Since(begun).Round(time.Millisecond))
		put(t, openStore(t, address), store.BlockedApp(), "x")
		awaitCall(t, heard, "a block on the new server")
	})
}

// A write that the standby has not got is not acknowledged, however long it takes: no
// timeout of the server's makes it a success. When the standby is back, it is.
func TestRealWritesWaitForTheStandby(t *testing.T) {
	primary := migrated(t, onDisk)
	standby := primary.Replica()
	s := openStore(t, primary.URL(""))
	put(t, s, store.Signer(), "both have it")
	standby.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), statementWait+2*time.Second)
	defer cancel()
	_, err := s.Swap(ctx, store.PrivateKey(), store.NewSecret("one has it"), "", noon)
	checkError(t, err, "PostgreSQL did not answer in time")
	go func() {
		time.Sleep(time.Second)
		standby.Start()
	}()
	version, err := s.Swap(t.Context(), store.BlockedApp(), store.NewSecret("x"), "", noon)
	if err != nil {
		t.Fatalf("Swap = %v, want it to wait for the standby", err)
	}
	primary.Kill()
	standby.Promote()
	e, err := openStore(t, standby.URL("")).Get(t.Context(), store.BlockedApp())
	if err != nil || e.Version != version {
		t.Errorf("Get from the standby = %v, %v, want what was acknowledged", e.Version, err)
	}
}

// A server that is stopped, not ended, takes connections and says nothing.
func TestRealFrozenServer(t *testing.T) {
	server := migrated(t)
	s := openStore(t, server.URL(""))
	put(t, s, store.Signer(), "x")
	server.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := s.Get(ctx, store.Signer())
	checkError(t, err, "PostgreSQL did not answer in time")
	server.Thaw()
	if _, err := s.Get(t.Context(), store.Signer()); err != nil {
		t.Errorf("Get afterwards = %v", err)
	}
}

// A connection that is dead without a word is left for another.
func TestRealWatchLeavesADeadConnection(t *testing.T) {
	server := migrated(t)
	called := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = openStore(t, server.URL("application_name=watcher")).Watch(ctx, store.AllBlocks(), func() {
			select {
			case called <- struct{}{}:
			default:
			}
		})
	}()
	awaitCall(t, called, "the beginning")
	pid, err := strconv.Atoi(server.Query("SELECT max(pid) FROM pg_stat_activity WHERE query = 'LISTEN gatepass'"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	awaitCall(t, called, "another connection")
	put(t, openStore(t, server.URL("")), store.BlockedApp(), "x")
	awaitCall(t, called, "a block")
	if n := server.Query("SELECT count(*) FROM pg_stat_activity WHERE query IN ('LISTEN gatepass', '-- ping') AND pid <> " + strconv.Itoa(pid)); n != "1" {
		t.Errorf("%s other connections listen, want one", n)
	}
}

func awaitCall(t *testing.T, called <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-called:
	case <-time.After(time.Minute):
		t.Fatalf("%s: changed was not called in a minute", what)
	}
}

// What is not told at once is said a while later, by the connection that is there.
func TestRealWatchHearsOfAllElseLater(t *testing.T) {
	server := migrated(t)
	called := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = openStore(t, server.URL("")).Watch(ctx, store.Workspaces(), func() {
			select {
			case called <- struct{}{}:
			default:
			}
		})
	}()
	awaitCall(t, called, "the beginning")
	const connections = "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'gatepass'"
	before := server.Query(connections)
	for range 2 {
		awaitCall(t, called, "a while after")
	}
	if after := server.Query(connections); after != before {
		t.Errorf("connections %s became %s, want the same", before, after)
	}
}

func TestWhatWatchersAreToldAtOnce(t *testing.T) {
	record, _ := store.Record("w1")
	vended, _ := store.Vended("w1", [8]byte{1}, noon)
	blocked, _ := store.Blocked("w1")
	owner, _ := store.BlockedOwner("acme")
	for name, want := range map[store.Name]bool{
		blocked: true, owner: true, store.BlockedApp(): true,
		record: false, vended: false, store.UsedProof([32]byte{1}): false, store.Redeemed([32]byte{1}): false, store.Delivery([32]byte{1}): false, store.Signer(): false,
	} {
		if got := isNotified(name); got != want {
			t.Errorf("isTold(%s) = %v, want %v", name, got, want)
		}
	}
}

// A deletion whose answer was lost was repeated, found nothing, and passed for done, though the
// standby had not heard of it: after a failover the entry was back.
func TestARepeatedDeletionWaitsForTheStandby(t *testing.T) {
	server := migrated(t)
	s := openStore(t, server.URL(""))
	name := store.BlockedApp()
	if err := s.Delete(t.Context(), name); err != nil {
		t.Fatalf("Delete = %v without a standby", err)
	}
	server.Exec("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'away'")
	server.Exec("postgres", "SELECT pg_reload_conf()")
	deadline := time.Now().Add(10 * time.Second)
	for server.Query("SELECT current_setting('synchronous_standby_names')") != "away" && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := s.Delete(ctx, name); err == nil {
		t.Error("Delete = nil while the standby is away, want an error")
	}
}

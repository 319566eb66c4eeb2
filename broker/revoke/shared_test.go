package revoke

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// lists counts how often all workspaces are listed, which is slow.
type lists struct {
	store.Store
	times atomic.Int64
	takes time.Duration
	reads atomic.Int64 // of entries
}

func (l *lists) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	if below == store.Workspaces() || below == store.Everything() {
		l.times.Add(1)
		time.Sleep(l.takes)
	}
	return l.Store.List(ctx, below)
}

func (l *lists) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	l.reads.Add(1)
	return l.Store.Get(ctx, n)
}

// watch counts the lists by a replica's revoker.
func (b *bench) watch(takes time.Duration) *lists {
	l := &lists{Store: b.Store, takes: takes}
	b.revoker.Store, b.revoker.listing.store = l, l
	return l
}

// sharedEntries counts the shared tokens.
func (b *bench) sharedEntries() (n int) {
	b.T.Helper()
	for _, err := range b.Store.List(b.T.Context(), store.AllShared()) {
		if err != nil {
			b.T.Fatal(err)
		}
		n++
	}
	return n
}

// Shared tokens of an account or of the App are revoked with the rest, and do not come
// back when the block is removed, although they have no marks.
func TestWhatIsSharedDoesNotComeBackAfterABlock(t *testing.T) {
	for _, target := range []blocklist.Target{{Owner: "acme"}, {Owner: "ACME"}, {App: true}, {Workspace: "sb-1"}} {
		g := brokertest.NewGitHub(t)
		one, two := newReplica(g), newReplica(g)
		one.MustToken("sb-1", "acme/widgets", "read")
		one.MustToken("ci", "octo/widgets", "read")
		if err := two.Blocklist.Block(t.Context(), "another"); err != nil { // so that the list is never empty
			t.Fatal(err)
		}
		got := two.revoke(target, 0)
		want := map[bool]int{true: 2, false: 1}[target.App]
		if len(got.Revoked) != want || slices.Contains(got.Workspaces, "") || len(two.Journal.Of(broker.KindRevoked)) != want {
			t.Errorf("%s: Revoke = %+v with %d lines, want %d tokens, each in the log once", target, got, len(two.Journal.Of(broker.KindRevoked)), want)
		}
		g.Advance(2 * time.Second)
		wantCode(t, "the other replica meanwhile", one.Token("sb-1", "acme/widgets", "read"), 403)
		two.lift(target)
		for _, b := range []*bench{one, two, newReplica(g)} {
			b.Advance(2 * time.Second)
			if now := b.MustToken("sb-1", "acme/widgets", "read"); !slices.Contains(b.alive(), fakegithub.Hash(now)) {
				t.Errorf("%s: a revoked token is given when the block is lifted", target)
			}
		}
	}
}

// A shared token that no workspace has got yet is also revoked with its account, and
// the log says so.
func TestATokenWithoutAWorkspaceIsRevoked(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	names, err := byWorkspace(t.Context(), b.Store, store.Workspaces())
	for _, name := range names["sb-1"] {
		if err == nil {
			err = b.Store.Delete(t.Context(), name) // as if it had not been recorded yet
		}
	}
	got := b.revoke(blocklist.Target{Owner: "acme"}, 0)
	if err != nil || len(got.Revoked) != 1 || len(b.alive()) != 0 || len(b.Journal.Of(broker.KindRevoked)) != 1 || b.sharedEntries() != 0 {
		t.Errorf("Revoke = %+v, %v with %d alive and %d shared, want the token revoked", got, err, len(b.alive()), b.sharedEntries())
	}
}

// An event about an account or some repositories lists only their shared tokens, not
// all workspaces, once no older broker can have given a token.
func TestAnEventListsNoWorkspaces(t *testing.T) {
	for _, c := range []struct {
		name, event, body string
		revoked           int // of the tokens for acme/widgets, acme/gears and octo/widgets
	}{
		{"an account is gone", "installation", `{"action":"deleted","installation":{"account":{"login":"Acme"}}}`, 2},
		{"a repository is gone", "repository", `{"action":"deleted","repository":{"full_name":"acme/widgets"}}`, 1},
		{"a repository was moved", "repository", `{"action":"transferred","repository":{"full_name":"other/gears"},"changes":{"owner":{"from":{"organization":{"login":"acme"}}}}}`, 1},
		{"repositories of two accounts are gone", "installation_repositories", `{"action":"removed","installation":{"account":{"login":"acme"}},"repositories_removed":[{"full_name":"acme/gears"},{"full_name":"octo/widgets"}]}`, 2},
		{"another repository is gone", "repository", `{"action":"deleted","repository":{"full_name":"acme/payroll"}}`, 0},
	} {
		g := brokertest.NewGitHub(t)
		g.Repository("acme", "gears")
		one, two := newReplica(g), newReplica(g)
		g.Advance(unsharedTimeout)
		for _, repository := range []string{"acme/widgets", "octo/widgets"} {
			one.MustToken("ci", repository, "read")
		}
		one.MustToken("ci", "acme/gears", "read")
		seen := two.watch(0)
		wantCode(t, c.name, two.tell("1", c.event, c.body), 204)
		if n := len(two.Journal.Of(broker.KindRevoked)); n != c.revoked || len(two.alive()) != 3-c.revoked || seen.times.Load() != 0 {
			t.Errorf("%s: %d revoked, %d alive, and %d times all workspaces were listed, want %d, %d and none", c.name, n, len(two.alive()), seen.times.Load(), c.revoked, 3-c.revoked)
		}
		g.Advance(2 * time.Second)
		for _, b := range []*bench{one, newReplica(g)} {
			for _, repository := range []string{"acme/widgets", "acme/gears", "octo/widgets"} {
				if now := b.MustToken("ci", repository, "read"); !slices.Contains(b.alive(), fakegithub.Hash(now)) {
					t.Errorf("%s: a revoked token for %s is given", c.name, repository)
				}
			}
		}
	}
}

// If a repository's name now means another one, every replica without a token asks for
// a new one.
func TestAnEventForgetsWhatIsShared(t *testing.T) {
	g := brokertest.NewGitHub(t)
	one, two := newReplica(g), newReplica(g)
	old := one.MustToken("sb-1", "acme/widgets", "read")
	wantCode(t, "the event", two.tell("1", "repository", `{"action":"privatized","repository":{"full_name":"acme/widgets"}}`), 204)
	if now := two.MustToken("sb-1", "acme/widgets", "read"); now == old {
		t.Error("the replica takes from the store what the event made wrong")
	}
}

// Killing many workspaces one after the other lists all workspaces for only a small
// part of the time, to find who shared their tokens, and not at all if none shares.
func TestManyKillsListSeldom(t *testing.T) {
	const kills = 100
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range kills {
			b.MustToken(fmt.Sprint("sb-", i), "acme/widgets", "read")
			b.Advance(50 * time.Millisecond)
		}
		b.revoker.Now, b.revoker.listing.now = time.Now, time.Now
		seen := b.watch(500 * time.Millisecond)
		begun := time.Now()
		for i := range kills {
			b.MustToken(fmt.Sprint("sb-", i), "acme/widgets", "read") // a new one, because the last was revoked
			b.revoke(workspaceTarget(fmt.Sprint("sb-", i)), 0)
			time.Sleep(100 * time.Millisecond)
		}
		took := time.Since(begun)
		if n := seen.times.Load(); n == 0 || n > int64(took/(5*time.Second))+2 {
			t.Errorf("%d kills within %v list all workspaces %d times, want once in five seconds", kills, took, n)
		}
	})
}

// For a workspace with its own tokens no additional entries are written. An event about
// the account still finds them, by the names of all workspaces.
func TestTokensThatAreNotSharedAreFoundByEvents(t *testing.T) {
	g := brokertest.NewGitHub(t)
	one, two := newReplica(g), newReplica(g)
	g.Advance(unsharedTimeout)
	for _, b := range []*bench{one, two} {
		b.Policy.Rules[1].Profile = b.Profile("own", "[acme/widgets]", "[clone], sharing: workspace")
	}
	for i := range 10 {
		one.MustToken(fmt.Sprint("sb-", i), "acme/widgets", "read")
	}
	if n := one.sharedEntries(); n != 1 || one.Mints() != 10 {
		t.Errorf("%d mints make %d entries, want one that says that they are not shared", one.Mints(), n)
	}
	seen := two.watch(0)
	wantCode(t, "an event about another account", two.tell("1", "installation", `{"action":"deleted","installation":{"account":{"login":"octo"}}}`), 204)
	if seen.times.Load() != 0 || len(two.alive()) != 10 {
		t.Errorf("all workspaces are listed %d times, and %d tokens alive, want none and all", seen.times.Load(), len(two.alive()))
	}
	wantCode(t, "an event about the repository", two.tell("2", "repository", `{"action":"deleted","repository":{"full_name":"acme/widgets"}}`), 204)
	if len(two.alive()) != 0 || two.sharedEntries() != 1 {
		t.Errorf("%d tokens are alive, want none", len(two.alive()))
	}
	if got := two.revoke(blocklist.Target{Owner: "acme"}, 0); len(got.Revoked) != 0 {
		t.Errorf("Revoke = %+v, want nothing left", got)
	}
}

// If a workspace shares nothing, its revocation does not search for others.
func TestWhatIsNotSharedIsLookedForNowhere(t *testing.T) {
	b := newBench(t)
	b.Policy.Rules[1].Profile = b.Profile("own", "[acme/widgets]", "[clone], sharing: workspace")
	b.MustToken("sb-1", "acme/widgets", "read")
	seen := b.watch(0)
	if got := b.revoke(workspaceTarget("sb-1"), 0); len(got.Revoked) != 1 || !slices.Equal(got.Workspaces, []string{"sb-1"}) || seen.times.Load() != 0 {
		t.Errorf("Revoke = %+v after all workspaces were listed %d times, want one token and no list", got, seen.times.Load())
	}
}

// Shared tokens are deleted when they have expired, without being read.
func TestWhatWasSharedIsTidiedUp(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {59 * time.Minute, 1}, {48 * time.Minute, 0}} {
		b.Advance(c.after)
		if b.clean(); b.sharedEntries() != c.want {
			t.Errorf("after %v more: %d entries, want %d", c.after, b.sharedEntries(), c.want)
		}
	}
}

// An operator gets the answer even if a large store takes long to list who else had the
// token. The audit log later has those that the answer could not name, and their
// entries are deleted.
func TestAnAnswerDoesNotWaitForALongList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.MustToken("sb-1", "acme/widgets", "read")
		b.MustToken("sb-2", "acme/widgets", "read")
		b.watch(20 * time.Second)
		begun := time.Now()
		got := b.revoke(workspaceTarget("sb-1"), 0)
		if took := time.Since(begun); took > sharersWait || len(got.Revoked) != 1 || len(b.alive()) != 0 {
			t.Errorf("after %v %+v with %d alive, want the token revoked within %v", took, got, len(b.alive()), sharersWait)
		}
		if !got.AsOf.IsZero() || !slices.Equal(got.Workspaces, []string{"sb-1"}) {
			t.Errorf("the answer = %+v, want one workspace and no time", got)
		}
		if err := b.revoker.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		names, err := b.revoker.ListOf(t.Context(), "sb-2")
		if lines := b.Journal.Of(broker.KindRevoked); err != nil || len(lines) != 2 || lines[1].Workspace != "sb-2" || slices.ContainsFunc(names, store.Name.IsVended) {
			t.Errorf("afterwards the log has %+v and the store %v, %v, want a line for sb-2 and no token", lines, names, err)
		}
	})
}

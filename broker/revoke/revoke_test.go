package revoke

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

func TestRevokeTakesEverythingFromOneWorkspace(t *testing.T) {
	b := newBench(t)
	mine := fakegithub.Hash(b.MustToken("sb-1", "acme/widgets", "read"))
	others := fakegithub.Hash(b.MustToken("ci", "octo/widgets", "write"))
	got := b.revoke(workspaceTarget("sb-1"), 0)
	if got.Workspace != "sb-1" || !slices.Equal(got.Revoked, []string{mine}) || got.Pending != 0 {
		t.Errorf("revoke = %+v, want the one token of sb-1", got)
	}
	if !slices.Equal(b.alive(), []string{others}) {
		t.Errorf("alive is %q, want %s", b.alive(), others)
	}
	wantCode(t, "the workspace afterwards", b.Token("sb-1", "acme/widgets", "read"), 403)
	wantCode(t, "another workspace", b.Token("sb-2", "acme/widgets", "read"), 200)
	blocked, revoked := b.Journal.Of(broker.KindBlocked), b.Journal.Of(broker.KindRevoked)
	if len(blocked) != 1 || blocked[0].Rule != "night" || blocked[0].Target != "workspace sb-1" || !strings.HasPrefix(blocked[0].Subject, "token sha256:") {
		t.Errorf("the journal has %+v, want who blocked sb-1", blocked)
	}
	if len(revoked) != 1 || revoked[0].Hash != mine || revoked[0].Workspace != "sb-1" || revoked[0].Rule != "night" {
		t.Errorf("the journal has %+v, want which token was revoked", revoked)
	}
	again := b.revoke(workspaceTarget("sb-1"), 0)
	if len(again.Revoked) != 0 {
		t.Errorf("again: %+v, want nothing left", again)
	}
	b.lift(workspaceTarget("sb-1"))
	wantCode(t, "unblocked", b.Token("sb-1", "acme/widgets", "read"), 200)
	if n := len(b.Journal.Of(broker.KindUnblocked)); n != 1 {
		t.Errorf("the journal has %d entries of admissions, want 1", n)
	}
}

// A token that many workspaces share is revoked once, and recorded for each.
func TestATokenOfManyIsRevokedOnce(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"sb-1", "sb-2"} {
		b.MustToken(id, "acme/widgets", "read")
	}
	got := b.revoke(blocklist.Target{Owner: "acme"}, 0)
	if len(got.Revoked) != 1 || got.Pending != 0 || len(b.alive()) != 0 {
		t.Errorf("kill = %+v, alive %q, want the one token dead", got, b.alive())
	}
	if n := b.Count(func(r fakegithub.Request) bool { return r.Method == "DELETE" }); n != 1 {
		t.Errorf("GitHub was asked %d times to revoke it, want once", n)
	}
	if lines := b.Journal.Of(broker.KindRevoked); len(lines) != 2 || lines[0].Workspace == lines[1].Workspace {
		t.Errorf("the journal has %+v, want a line for each workspace", lines)
	}
}

// A token belongs to a scope, and workspaces of a profile share it. The others get a
// new one, from every replica.
func TestWhoSharedTheTokenGetsAnother(t *testing.T) {
	g := brokertest.NewGitHub(t)
	one, two := newReplica(g), newReplica(g)
	shared := two.MustToken("sb-1", "acme/widgets", "read")
	if again := two.MustToken("sb-2", "acme/widgets", "read"); again != shared {
		t.Fatal("workspaces of one scope have two tokens")
	}
	one.revoke(workspaceTarget("sb-1"), 0)
	two.Advance(time.Second) // the other replica reads the blocks again
	if now := two.MustToken("sb-2", "acme/widgets", "read"); now == shared || !slices.Contains(two.alive(), fakegithub.Hash(now)) {
		t.Error("the other replica gives a dead token from memory")
	}
}

// Revoking one workspace cut off others without notice, because they had the same
// token, even by another profile. Now only workspaces of one profile share, and each
// that loses it is named: before, in the answer, and in the audit log.
func TestWhoIsHitIsNamed(t *testing.T) {
	g := brokertest.NewGitHub(t)
	one, two := newReplica(g), newReplica(g)
	other := one.MustToken("ci", "acme/widgets", "read")
	shared := one.MustToken("sb-1", "acme/widgets", "read")
	if shared == other {
		t.Fatal("workspaces of two profiles share a token")
	}
	one.MustToken("sb-2", "acme/widgets", "read")
	two.MustToken("sb-3", "acme/widgets", "read") // of the same profile, from another broker
	if found, err := two.revoker.List(t.Context()); err != nil || !slices.Equal(found.Sharers("sb-1"), []string{"sb-2", "sb-3"}) {
		t.Errorf("Sharers(sb-1) = %q, %v, want sb-2 and sb-3", found.Sharers("sb-1"), err)
	}
	got := two.revoke(workspaceTarget("sb-1"), 0)
	if !slices.Equal(got.Workspaces, []string{"sb-1", "sb-2", "sb-3"}) || got.AsOf.IsZero() || len(one.alive()) != 1 {
		t.Errorf("revoke = %+v with %d alive, want sb-1, sb-2 and sb-3 hit", got, len(one.alive()))
	}
	var lines []string
	for _, e := range two.Journal.Of(broker.KindRevoked) {
		lines = append(lines, e.Workspace+" "+e.Detail)
	}
	if slices.Sort(lines); !slices.Equal(lines, []string{"sb-1 ", "sb-2 it shared this token", "sb-3 it shared this token"}) {
		t.Errorf("the journal has %q, want who was revoked and who was hit", lines)
	}
	// Nothing of the revoked token is left to be revoked again.
	if again := one.revoke(workspaceTarget("sb-2"), 0); len(again.Revoked) != 0 || again.Pending != 0 {
		t.Errorf("revoke sb-2 = %+v, want nothing left", again)
	}
}

// The answer also names the other workspaces that share a token while its revocation is
// pending.
func TestWhoIsHitIsNamedWhileItIsPending(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"sb-1", "sb-2"} {
		b.MustToken(id, "acme/widgets", "read")
	}
	b.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(403), -1)
	if got := b.revoke(workspaceTarget("sb-1"), 1); !slices.Equal(got.Workspaces, []string{"sb-1", "sb-2"}) {
		t.Errorf("revoke = %+v, want both named", got)
	}
}

// From the operator's request to the refusal by another replica it takes at most a
// second.
func TestRevokeToRefusalTakesASecond(t *testing.T) {
	g := brokertest.NewGitHub(t)
	one, two := newReplica(g), newReplica(g)
	for _, b := range []*bench{one, two} {
		b.MustToken("sb-1", "acme/widgets", "read")
	}
	two.MustToken("sb-1", "acme/widgets", "read") // it has just read the blocks
	got := one.revoke(workspaceTarget("sb-1"), 0)
	wantCode(t, "this replica at once", one.Token("sb-1", "acme/widgets", "read"), 403)
	g.Advance(time.Second)
	wantCode(t, "the other a second later", two.Token("sb-1", "acme/widgets", "read"), 403)
	if len(got.Revoked) != 1 || len(one.alive()) != 0 {
		t.Errorf("revoked %q, alive %q, want the token of both replicas dead", got.Revoked, one.alive())
	}
}

func TestKillAnOwner(t *testing.T) {
	b := newBench(t)
	b.Repository("acme", "gears")
	for _, repo := range []string{"acme/widgets", "acme/gears", "octo/widgets"} {
		b.MustToken("ci", repo, "write")
	}
	octo := fakegithub.Hash(b.MustToken("ci", "octo/widgets", "write"))
	got := b.revoke(blocklist.Target{Owner: "Acme"}, 0)
	if len(got.Revoked) != 2 || !slices.Equal(b.alive(), []string{octo}) {
		t.Errorf("kill = %+v, alive %q, want acme's two dead", got, b.alive())
	}
	wantCode(t, "acme afterwards", b.Token("ci", "acme/widgets", "read"), 403)
	wantCode(t, "octo afterwards", b.Token("ci", "octo/widgets", "read"), 200)
	b.lift(blocklist.Target{Owner: "acme"})
	if again := fakegithub.Hash(b.MustToken("ci", "acme/widgets", "write")); !slices.Contains(b.alive(), again) {
		t.Error("acme unblocked gets a dead token from memory")
	}
}

// Everything of the App, also of hundreds of workspaces and delivered tokens, is
// revoked within seconds.
func TestKillTheApp(t *testing.T) {
	b := newBench(t)
	b.Policy.Rules[1].Profile.Sharing = profile.ShareNothing
	for i := range 300 {
		b.MustToken(fmt.Sprintf("sb-%d", i), "acme/widgets", "read")
	}
	issuer := &workspace.Issuer{App: b.App, Store: b.Store, Now: b.Now}
	for _, id := range []string{"w1", "w2"} {
		if _, err := issuer.Create(t.Context(), id, b.Profile("p", "[acme/widgets, octo/widgets]", "[clone]"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.alive()); n != 304 {
		t.Fatalf("%d tokens are alive, want 304", n)
	}
	begun := time.Now()
	got := b.revoke(blocklist.Target{App: true}, 0)
	if took := time.Since(begun); took > revokeTimeout || len(got.Revoked) != 304 || len(b.alive()) != 0 {
		t.Errorf("kill revoked %d in %s, %d are alive, want all of 304 dead", len(got.Revoked), took, len(b.alive()))
	}
	wantCode(t, "anybody", b.Token("sb-9", "acme/widgets", "read"), 403)
	if _, err := issuer.Refresh(t.Context(), "w1", false); err != nil || len(b.alive()) != 0 {
		t.Errorf("a refresh meanwhile: %v, %d alive, want nothing minted", err, len(b.alive()))
	}
	b.lift(blocklist.Target{App: true})
	if _, err := issuer.Refresh(t.Context(), "w1", false); err != nil || len(b.alive()) != 2 {
		t.Errorf("a refresh after: %v, %d alive, want the workspace's two", err, len(b.alive()))
	}
}

// Revoking an owner also works for a workspace that also has another owner's token.
func TestKillAnOwnerOfWhatWasDelivered(t *testing.T) {
	b := newBench(t)
	issuer := &workspace.Issuer{App: b.App, Store: b.Store, Now: b.Now}
	if _, err := issuer.Create(t.Context(), "w1", b.Profile("p", "[acme/widgets, octo/widgets]", "[clone]"), 0); err != nil {
		t.Fatal(err)
	}
	got := b.revoke(blocklist.Target{Owner: "octo"}, 0)
	live := b.Tokens()
	if len(got.Revoked) != 1 || len(live) != 1 || live[0].Repositories[0] != "acme/widgets" {
		t.Errorf("kill = %+v, alive %+v, want acme's token alone", got, live)
	}
	if r, err := issuer.Refresh(t.Context(), "w1", true); err != nil || slices.ContainsFunc(b.Tokens(), func(t fakegithub.Token) bool { return t.Repositories[0] == "octo/widgets" }) {
		t.Errorf("a forced refresh gives %+v, %v, want nothing of octo", r, err)
	}
}

// A block holds whatever else fails. What failed is done later, even after a restart.
func TestReconcileFinishesWhatFailed(t *testing.T) {
	g := brokertest.NewGitHub(t)
	one := newReplica(g)
	one.MustToken("ci", "acme/widgets", "read")
	one.MustToken("ci", "octo/widgets", "read")
	cancel := g.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(403), 100)
	got := one.revoke(workspaceTarget("ci"), 2)
	if len(got.Revoked) != 0 {
		t.Errorf("revoke while GitHub is away = %+v, want two pending", got)
	}
	wantCode(t, "the workspace meanwhile", one.Token("ci", "acme/widgets", "read"), 403)
	cancel()
	two := newReplica(g)
	if done, err := two.revoker.Reconcile(t.Context()); err != nil || done != (Reconciled{Revoked: 2}) || len(two.alive()) != 0 {
		t.Errorf("Reconcile after a restart = %+v, %v, alive %q, want none", done, err, two.alive())
	}
	if revoked := two.Journal.Of(broker.KindRevoked); len(revoked) != 2 || revoked[0].Subject != "reconcile" || revoked[0].Target != "workspace ci" {
		t.Errorf("the journal has %+v, want two tokens revoked", revoked)
	}
	if n := vendedEntries(t, two); n != 0 {
		t.Errorf("%d entries are left, want none", n)
	}
}

// GitHub's 401 does not prove that a token of the last minute is gone
// (octokit/auth-app.js#65, #589): what operators and GitHub's events revoke stays
// pending until it is revoked.
func TestANewTokenStaysPendingUntilItIsRevoked(t *testing.T) {
	const deleted = `{"action":"deleted","repository":{"full_name":"acme/widgets"}}`
	for _, target := range []blocklist.Target{{Workspace: "sb-1"}, {App: true}, {}} { // the last one by a webhook
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			if err := b.SetLag(20*time.Second, http.StatusUnauthorized); err != nil {
				t.Fatal(err)
			}
			b.MustToken("sb-1", "acme/widgets", "read")
			isEvent := target == blocklist.Target{}
			if isEvent {
				wantCode(t, "the event", b.tell("1", "repository", deleted), 503)
			} else if got := b.revoke(target, 1); len(got.Revoked) != 0 {
				t.Errorf("%s = %+v, want it pending", target, got)
			}
			if len(b.alive()) != 1 || vendedEntries(t, b) != 1 {
				t.Errorf("%s: %d tokens are alive and %d kept, want the one that is pending", target, len(b.alive()), vendedEntries(t, b))
			}
			time.Sleep(20 * time.Second)
			var err error
			if isEvent { // GitHub is asked to deliver it again
				wantCode(t, "the event later", b.tell("1", "repository", deleted), 204)
			} else {
				_, err = b.revoker.Reconcile(t.Context())
			}
			if err != nil || len(b.alive()) != 0 || vendedEntries(t, b) != 0 {
				t.Errorf("%s, later: %v, %d tokens are alive and %d kept, want none", target, err, len(b.alive()), vendedEntries(t, b))
			}
		})
	}
}

// What another replica gave before it knew of the block is found, for as long as that
// can happen.
func TestReconcileFindsWhatWasGivenMeanwhile(t *testing.T) {
	for _, target := range []blocklist.Target{{Workspace: "sb-1"}, {Owner: "acme"}, {App: true}} {
		b := newBench(t)
		if err := b.Blocklist.Add(t.Context(), target); err != nil {
			t.Fatal(err)
		}
		if _, err := b.revoker.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		slow := newReplica(b.GitHub)
		slow.Blocklist.Every = time.Hour
		slow.Blocklist.Store = brokertest.NewGitHub(t).Store // it has not learned of the block
		slow.MustToken("sb-1", "acme/widgets", "read")
		b.Advance(checkEvery)
		if _, err := b.revoker.Reconcile(t.Context()); err != nil || len(b.alive()) != 0 {
			t.Errorf("%s: Reconcile = %v, alive %q, want none", target, err, b.alive())
		}
	}
}

// For a block that is done, only the list of blocks is read from the store.
func TestASettledBlockIsLeftAlone(t *testing.T) {
	b := newBench(t)
	if err := b.Blocklist.Block(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if _, err := b.revoker.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.Advance(checkEvery)
	}
	if s := b.revoker.reconciler.targets[blocklist.Target{Workspace: "sb-1"}]; s == nil || !s.done {
		t.Errorf("after %s the block is %+v, want it settled", 40*checkEvery, s)
	}
}

func TestDeletesWhatHasRunOut(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	b.revoke(workspaceTarget("sb-1"), 0)
	b.MustToken("sb-2", "acme/widgets", "read")
	if b.clean(); vendedEntries(t, b) != 1 {
		t.Error("the living token's entry is gone")
	}
	b.Advance(time.Hour + 10*time.Minute)
	b.clean()
	blocks, err := store.ReadBlocks(t.Context(), b.Store)
	if n := vendedEntries(t, b); n != 0 || err != nil || len(blocks.Tokens) != 0 || !blocks.Workspaces["sb-1"] {
		t.Errorf("%d entries and blocks %+v are left, %v, want the block of sb-1 alone", n, blocks, err)
	}
}

// A used proof is remembered for as long as it could be used again.
func TestForgetsWhatWasShownOnce(t *testing.T) {
	b := newBench(t)
	short, long := store.UsedProof([32]byte{1}), store.UsedProof([32]byte{2})
	for name, life := range map[store.Name]time.Duration{short: time.Minute, long: time.Hour} {
		if won, err := store.Claim(t.Context(), b.Store, name, b.Now().Add(life)); !won || err != nil {
			t.Fatalf("Claim = %v, %v", won, err)
		}
	}
	b.Advance(20 * time.Minute)
	b.clean()
	if _, err := b.Store.Get(t.Context(), short); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what has run out: Get = %v, want that it is gone", err)
	}
	if _, err := b.Store.Get(t.Context(), long); err != nil {
		t.Errorf("what has not: Get = %v", err)
	}
}

// Revoking works even if it cannot be recorded; giving does not.
func TestTheJournalRunsOut(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	b.Journal.Fail(errors.New("no space"))
	wantRefusal := func(what string, err error) {
		t.Helper()
		if got := broker.RefusalOf(err); got.Status != 503 || got.Reason != broker.ReasonAudit {
			t.Errorf("%s = %v, want that the audit log cannot be written", what, err)
		}
	}
	_, err := b.revoker.Revoke(t.Context(), night, workspaceTarget("sb-1"))
	wantRefusal("Revoke", err)
	if n := len(b.alive()); n != 0 {
		t.Errorf("%d tokens are alive, want none", n)
	}
	wantRefusal("Unblock", b.revoker.Unblock(t.Context(), night, workspaceTarget("sb-1")))
	b.Journal.Fail(nil)
	wantCode(t, "the workspace", b.Token("sb-1", "acme/widgets", "read"), 403)
}

func vendedEntries(t *testing.T, b *bench) int {
	t.Helper()
	names, err := byWorkspace(t.Context(), b.Store, store.Workspaces())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, list := range names {
		for _, name := range list {
			if name.IsVended() {
				n++
			}
		}
	}
	return n
}

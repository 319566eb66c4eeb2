package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/fakegithub/hub"
)

// verified is a profile that protects branches from being forced, except some.
const verified = `{allowedRepos: [acme/widgets], verify: ancestry, allowedRefs: [{ref: "agent/{workspace}/**", allow: [create, update, delete]}, ` +
	`{ref: "own/{workspace}/**", allow: [create, update, force]}, {ref: "refs/tags/v*", allow: [create, move]}]}`

// newVerified makes a world whose GitHub has the API for moving refs, and a branch work
// that this clone pushed.
func newVerified(t *testing.T, profile string) *world {
	t.Helper()
	w := newWorld(t, profile)
	if _, err := hub.Attach(w.Server); err != nil {
		t.Fatal(err)
	}
	w.clone()
	w.mustGit("push", "-q", "origin", "HEAD:"+work)
	w.aged()
	return w
}

// commit adds a commit on top, and returns it.
func (w *world) commit(message string) string {
	w.t.Helper()
	w.mustGit("commit", "-q", "--allow-empty", "-m", message)
	return w.mustGit("rev-parse", "HEAD")
}

// diverge adds a commit next to the last one, so that only force can move the branch
// there.
func (w *world) diverge(message string) string {
	w.t.Helper()
	w.mustGit("commit", "-q", "--amend", "--allow-empty", "-m", message)
	return w.mustGit("rev-parse", "HEAD")
}

// quarantined returns the quarantine refs that GitHub still has.
func (w *world) quarantined() string {
	w.t.Helper()
	repo, _ := w.Repository("acme", "widgets")
	out, err := exec.Command("git", "-C", repo.Dir, "for-each-ref", "--format=%(refname)", "refs/gatepass").CombinedOutput()
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// entries counts the store's entries about quarantine refs.
func (w *world) entries() (n int) {
	w.t.Helper()
	for _, err := range w.Access.Broker.Store.List(w.t.Context(), store.Quarantines()) {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

// checkClean checks that nothing is left of verified pushes.
func (w *world) checkClean(what string) {
	w.t.Helper()
	if refs, n := w.quarantined(), w.entries(); refs != "" || n != 0 {
		w.t.Errorf("%s: GitHub has the refs %q and the store %d entries, want nothing of a push that has ended", what, refs, n)
	}
}

func (w *world) checkRef(what, ref, want string) {
	w.t.Helper()
	if got := w.ref(ref); got != want {
		w.t.Errorf("%s: %s is %q, want %q", what, ref, got, want)
	}
}

func (w *world) calls(method string) int {
	return w.Count(func(r fakegithub.Request) bool { return r.Method == method && strings.Contains(r.Path, "/git/refs/") })
}

func TestVerifiedPush(t *testing.T) {
	t.Parallel()
	w := newVerified(t, verified)
	head := w.commit("on top")
	out := w.mustGit("push", "origin", "HEAD:"+work)
	w.checkRef("a fast-forward", work, head)
	w.checkClean("a fast-forward")
	if got := w.calls(http.MethodPatch); got != 1 || strings.Contains(out, "refs/gatepass") {
		t.Errorf("GitHub moved refs %d times, and git printed %s; want once, and no quarantine ref", got, out)
	}
	w.mustGit("fetch", "-q")
	entries := w.Journal.Of(broker.KindPush)
	intent, outcome := entries[len(entries)-2], entries[len(entries)-1]
	if intent.Ref != work || !strings.Contains(intent.Detail, "through refs/gatepass/") || outcome.Ref != work || outcome.Outcome != broker.OutcomeOK {
		t.Errorf("the audit log has\n%+v\n%+v\nwant the intent with its quarantine ref, and ok", intent, outcome)
	}
}

// The command list cannot show this; here a client also lies about the old value.
func TestForcedPushIsRefused(t *testing.T) {
	t.Parallel()
	w := newVerified(t, verified)
	was := w.ref(work)
	w.diverge("instead")
	got, ok := w.git("push", "--force", "origin", "HEAD:"+work)
	want := "To " + w.repo("acme/widgets") + `
 ! [remote rejected] HEAD -> agent/sb-agent/work (gatepass: GitHub says that it is not a fast-forward, and the rule does not allow force; fetch, then merge or rebase)
error: failed to push some refs to '` + w.repo("acme/widgets") + "'"
	if ok || got != want {
		t.Errorf("git push --force printed (exit 0: %v)\n%s\nwant\n%s", ok, got, want)
	}
	w.checkRef("a forced push", work, was)
	w.checkClean("a forced push")
	if got := w.audited(broker.KindPush); !strings.HasSuffix(got, "granted heads/agent/sb-agent/work refused") {
		t.Errorf("the audit log has\n%s\nwant that GitHub refused it", got)
	}
	for _, args := range []string{"push --porcelain -f origin HEAD:", "push --atomic -f origin HEAD:", "push --quiet -f origin HEAD:"} {
		if out, ok := w.git(strings.Fields(args + work)...); ok || !strings.Contains(out, "(gatepass: GitHub says that it is not a fast-forward") {
			t.Errorf("git %s prints (exit 0: %v) %s, want the reason", args, ok, out)
		}
	}
	w.checkRef("forced pushes", work, was)
}

func TestWhatNeedsNoVerification(t *testing.T) {
	t.Parallel()
	w := newVerified(t, verified)
	for _, step := range []struct{ name, args string }{
		{"a new branch", "push origin HEAD:refs/heads/agent/sb-agent/new"},
		{"a branch that may be forced", "push origin HEAD:refs/heads/own/sb-agent/x"},
		{"a forced push of it", "push -f origin HEAD:refs/heads/own/sb-agent/x"},
		{"a tag", "push origin HEAD:refs/tags/v1"},
		{"a tag that moves", "push -f origin HEAD~1:refs/tags/v1"},
		{"a deletion", "push origin :refs/heads/agent/sb-agent/new"},
	} {
		if strings.HasPrefix(step.name, "a forced") {
			w.diverge(step.name)
		}
		if out, ok := w.git(strings.Fields(step.args)...); !ok {
			t.Errorf("%s: git %s printed %s, want it to work", step.name, step.args, out)
		}
	}
	if got := w.calls(http.MethodPatch); got != 0 {
		t.Errorf("GitHub's API moved refs %d times, want never", got)
	}
	w.checkRef("a deletion", "refs/heads/agent/sb-agent/new", "")
}

// One push does several things; one of them is refused, and git says which.
func TestMixedPush(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newVerified(t, verified)
	w.mustGit("push", "-q", "origin", "HEAD:refs/heads/agent/sb-agent/second")
	w.mustGit("branch", "ahead")
	was := w.ref(work)
	w.diverge("instead")
	w.mustGit("checkout", "-q", "ahead")
	head := w.commit("on top")
	got, ok := w.git("push", "-f", "origin", "main:"+work, "ahead:refs/heads/agent/sb-agent/second", "ahead:refs/tags/v2")
	for _, want := range []string{
		"remote: gatepass: 2 of 3 refs were updated, the others were not; a verified push is not atomic",
		"..", "ahead -> agent/sb-agent/second", "[new tag]", " ! [remote rejected] main -> agent/sb-agent/work (gatepass: GitHub says that it is not a fast-forward",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("git printed %s, want %q in it", got, want)
		}
	}
	w.checkRef("the refused one", work, was)
	w.checkRef("the other branch", "refs/heads/agent/sb-agent/second", head)
	w.checkRef("the tag", "refs/tags/v2", head)
	w.checkClean("a mixed push")
	if ok {
		t.Error("git exits with 0, want 1")
	}
	w.commit("more on top")
	pushes := w.pushes()
	out, ok := w.git("push", "--atomic", "origin", "ahead:"+work, "ahead:refs/heads/agent/sb-agent/second")
	if ok || !strings.Contains(out, "it cannot be atomic") || w.pushes() != pushes {
		t.Errorf("git push --atomic printed %s, want that it is refused and not forwarded", out)
	}
}

func TestVerifiedBranchesAreFew(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes many times")
	}
	t.Parallel()
	w := newVerified(t, verified)
	var create, update []string
	for i := range 21 {
		create = append(create, fmt.Sprintf("HEAD~1:refs/heads/agent/sb-agent/n%d", i))
		update = append(update, fmt.Sprintf("HEAD:refs/heads/agent/sb-agent/n%d", i))
	}
	w.mustGit(append([]string{"push", "-q", "origin"}, create...)...)
	pushes := w.pushes()
	if out, ok := w.git(append([]string{"push", "origin"}, update...)...); ok || !strings.Contains(out, "(gatepass: it changes 21 branches that need verification; push at most 20 at once)") || w.pushes() != pushes {
		t.Errorf("git push of 21 branches prints %s, want that it is refused and not forwarded", out)
	}
	w.mustGit(append([]string{"push", "-q", "origin"}, update[1:]...)...)
	w.checkClean("20 branches")
}

// It never falls back to a plain push.
func TestWithoutTheAPINothingMoves(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes many times")
	}
	t.Parallel()
	for _, c := range []struct {
		name    string
		fault   fakegithub.Fault
		want    string
		outcome string
	}{
		{"no answer", fakegithub.Reset(), "GitHub's API did not say whether it moved the branch; run git fetch to see", broker.OutcomeUnknown},
		{"out of order", fakegithub.Status(500), "GitHub's API did not say whether it moved the branch; run git fetch to see", broker.OutcomeUnknown},
		{"unavailable", fakegithub.Status(503), "gatepass: GitHub's API did not answer, so the push could not be verified; the branch was not moved", broker.OutcomeFailed},
		{"forbidden", fakegithub.Status(403), "(Forbidden)", broker.OutcomeRefused},
		{"a conflict", fakegithub.Status(409), "(Conflict)", broker.OutcomeRefused},
		{"too fast", fakegithub.SecondaryRateLimited(time.Minute), "(You have exceeded a secondary rate limit.", broker.OutcomeRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newVerified(t, verified)
			was := w.ref(work)
			w.commit("on top")
			lift := w.Fail(func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/git/refs/") }, c.fault, -1)
			out, ok := w.git("push", "origin", "HEAD:"+work)
			if ok || !strings.Contains(out, " ! [remote rejected] HEAD -> agent/sb-agent/work (") || !strings.Contains(out, c.want) {
				t.Errorf("git push printed (exit 0: %v) %s, want the reason %q", ok, out, c.want)
			}
			w.checkRef(c.name, work, was)
			if got := w.audited(broker.KindPush); !strings.HasSuffix(got, "work "+c.outcome) {
				t.Errorf("the audit log has\n%s\nwant the outcome %s", got, c.outcome)
			}
			// Plain pushes need no API.
			w.SetProfile(agents)
			w.mustGit("push", "-q", "origin", "HEAD:"+work)
			lift()
			w.sweep()
			w.checkClean(c.name)
		})
	}
}

// Without GitHub's report on the quarantine ref, no branch is moved.
func TestVerifiedPushWithoutAReport(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newVerified(t, verified)
	was := w.ref(work)
	w.commit("on top")
	for _, c := range []struct {
		name  string
		fault fakegithub.Fault
		want  string
	}{
		{"an answer that gets lost", fakegithub.Truncate(0), "gatepass: GitHub "},
		{"half an answer", fakegithub.Truncate(30), "gatepass: GitHub did not confirm that it has the objects; the branch was not moved"},
		{"no answer", fakegithub.Reset(), "gatepass: GitHub received the whole push and did not answer; no branch was moved"},
		{"an error", fakegithub.Status(502), "gatepass: GitHub answered 502"},
	} {
		w.Fail(isPush, c.fault, 1)
		if out, ok := w.git("push", "origin", "HEAD:"+work); ok || !strings.Contains(out, " ! [remote rejected] HEAD -> agent/sb-agent/work ("+c.want) {
			t.Errorf("%s: git push prints (exit 0: %v) %s, want %q", c.name, ok, out, c.want)
		}
		w.checkRef(c.name, work, was)
		if got := w.audited(broker.KindPush); !strings.HasSuffix(got, "work failed") {
			t.Errorf("%s: the audit log has\n%s\nwant that it failed", c.name, got)
		}
		w.sweep()
		w.checkClean(c.name)
		w.session = w.Session("")
	}
	if got := w.calls(http.MethodPatch); got != 0 {
		t.Errorf("GitHub was asked %d times to move a branch, want never", got)
	}
}

// sweep lets the time pass in which the gateway does not touch the refs, and sweeps.
func (w *world) sweep() {
	w.t.Helper()
	for _, wait := range []time.Duration{2 * time.Minute, 2 * time.Hour} {
		w.Advance(wait)
		if err := w.gateway.Sweep(w.t.Context()); err != nil {
			w.t.Errorf("Sweep = %v", err)
		}
	}
}

// If GitHub's answer is lost, the move is retried: moving a branch to where it is has
// no effect.
func TestAnswerThatGetsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes many times")
	}
	t.Parallel()
	w := newVerified(t, verified)
	head := w.commit("on top")
	w.Fail(func(r *http.Request) bool { return r.Method == http.MethodPatch }, fakegithub.Truncate(0), 1)
	w.mustGit("push", "-q", "origin", "HEAD:"+work)
	w.checkRef("a lost answer", work, head)
	// If the branch is moved by others meanwhile, it is unknown whether this move
	// happened.
	w.mustGit("branch", "ahead")
	w.commit("and again")
	w.mustGit("checkout", "-q", "ahead")
	elsewhere := w.commit("elsewhere")
	w.mustGit("push", "-q", "origin", "HEAD:refs/heads/own/sb-agent/x")
	w.mustGit("checkout", "-q", "main")
	repo, _ := w.Repository("acme", "widgets")
	tries := 0
	w.Fail(func(r *http.Request) bool {
		if r.Method != http.MethodPatch {
			return false
		}
		if tries++; tries == 2 {
			_ = exec.Command("git", "-C", repo.Dir, "update-ref", work, elsewhere).Run()
		}
		return tries == 1
	}, fakegithub.Truncate(0), -1)
	out, ok := w.git("push", "origin", "HEAD:"+work)
	if ok || !strings.Contains(out, "did not say whether it moved the branch") || !strings.HasSuffix(w.audited(broker.KindPush), "work unknown") {
		t.Errorf("git push printed (exit 0: %v) %s, want that the outcome is unknown", ok, out)
	}
	w.checkRef("what somebody else did", work, elsewhere)
	w.checkClean("lost answers")
}

// Some of GitHub's servers learn of a token late.
func TestVerifiedPushWithANewToken(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newWorld(t, verified)
	if _, err := hub.Attach(w.Server); err != nil {
		t.Fatal(err)
	}
	w.clone()
	w.mustGit("push", "-q", "origin", "HEAD:"+work)
	w.Fail(func(r *http.Request) bool { return r.Method == http.MethodPatch }, fakegithub.Status(http.StatusNotFound), 2)
	head := w.commit("on top")
	w.mustGit("push", "-q", "origin", "HEAD:"+work)
	w.checkRef("a new token", work, head)
	w.checkClean("a new token")
}

// A push may take longer than its token lives.
func TestVerifiedPushOutlivesItsToken(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newVerified(t, verified)
	head := w.commit("on top")
	isMint := func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/access_tokens") }
	mints := w.Count(isMint)
	w.Access.Broker.Journal = onIntent{w.Access.Broker.Journal, func() { w.Advance(54 * time.Minute) }} // so that its token has few minutes left
	w.mustGit("push", "-q", "origin", "HEAD:"+work)
	w.checkRef("a long push", work, head)
	w.checkClean("a long push")
	if got := w.Count(isMint); got != mints+1 {
		t.Errorf("GitHub made %d tokens during the push, want one", got-mints)
	}
}

// onIntent calls then when a push is about to be forwarded.
type onIntent struct {
	broker.Journal
	then func()
}

func (j onIntent) Write(ctx context.Context, e broker.Entry, durable bool) error {
	if strings.Contains(e.Detail, "verified through") {
		j.then()
	}
	return j.Journal.Write(ctx, e, durable)
}

// A push that cannot be recorded is not forwarded.
func TestVerifiedPushNeedsTheStore(t *testing.T) {
	t.Parallel()
	w := newVerified(t, verified)
	was := w.ref(work)
	w.commit("on top")
	pushes := w.pushes()
	w.Access.Broker.Store = deafStore{w.Access.Broker.Store}
	if out, ok := w.git("push", "origin", "HEAD:"+work); ok || !strings.Contains(out, "(gatepass: the broker's store is unavailable)") || w.pushes() != pushes {
		t.Errorf("git push prints (exit 0: %v) %s, want that it is refused and not forwarded", ok, out)
	}
	w.checkRef("without a store", work, was)
}

type deafStore struct{ store.Store }

func (deafStore) Put(context.Context, store.Name, store.Secret, store.Mode) error { return errOut }

// Two clones push at once: one moves the branch, the other is told to fetch.
func TestPushesRace(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes many times")
	}
	t.Parallel()
	w := newVerified(t, verified)
	dirs := make([]string, 2)
	heads := make([]string, 2)
	for i := range dirs {
		dirs[i] = filepath.Join(t.TempDir(), "clone")
		w.gitIn("", "clone", "-q", "-b", "agent/sb-agent/work", w.repo("acme/widgets"), dirs[i])
		w.gitIn(dirs[i], "commit", "-q", "--allow-empty", "-m", fmt.Sprint("of ", i))
		heads[i], _ = w.gitIn(dirs[i], "rev-parse", "HEAD")
	}
	// Both have their objects at GitHub before either moves the branch.
	var both sync.WaitGroup
	both.Add(2)
	w.Fail(func(r *http.Request) bool { return r.Method == http.MethodPatch }, fakegithub.Slow(300*time.Millisecond), 2)
	won := make([]bool, 2)
	outs := make([]string, 2)
	for i := range dirs {
		go func() {
			defer both.Done()
			outs[i], won[i] = w.gitIn(dirs[i], "push", "origin", "HEAD:"+work)
		}()
	}
	both.Wait()
	if won[0] == won[1] {
		t.Fatalf("pushes that race: %v, %s, want that one of them is carried out", won, outs)
	}
	winner, loser := 0, 1
	if won[1] {
		winner, loser = 1, 0
	}
	w.checkRef("the race", work, heads[winner])
	if !strings.Contains(outs[loser], "not a fast-forward") {
		t.Errorf("the other push prints %s, want that it is not a fast-forward", outs[loser])
	}
	w.checkClean("the race")
}

func TestManyVerifiedPushes(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes a hundred times")
	}
	t.Parallel()
	w := newVerified(t, verified)
	for i := range 100 {
		head := w.commit(fmt.Sprint(i))
		w.mustGit("push", "-q", "origin", "HEAD:"+work)
		w.checkRef(fmt.Sprint(i), work, head)
		w.checkClean(fmt.Sprint(i))
	}
}

func TestShallowVerifiedPush(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newVerified(t, verified)
	dir := filepath.Join(t.TempDir(), "shallow")
	w.gitIn("", "clone", "-q", "--depth=1", "-b", "agent/sb-agent/work", w.repo("acme/widgets"), dir)
	w.dir = dir
	head := w.commit("on top of what is not all here")
	w.mustGit("push", "-q", "origin", "HEAD:"+work)
	w.checkRef("a shallow clone", work, head)
	w.checkClean("a shallow clone")
}

var errOut = errors.New("the power is out")

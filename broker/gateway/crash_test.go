package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A plug cuts a broker off at one of its steps, like a kill: nothing it does afterwards
// has an effect.
type plug struct {
	mu    sync.Mutex // guards the rest
	at    int        // the first step that does not happen; 0 means that all happen
	after bool       // the step before it happens, but its answer is lost
	steps int
}

// step counts one step, and reports whether it happens, and whether the broker learns
// of it.
func (p *plug) step() (happens, isTold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps++
	isOff := p.at > 0 && p.steps >= p.at
	return !isOff || p.after && p.steps == p.at, !isOff
}

func (p *plug) set(at int, after bool) (steps int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	steps, p.steps, p.at, p.after = p.steps, 0, at, after
	return steps
}

// Write implements [broker.Journal].
func (j pluggedJournal) Write(ctx context.Context, e broker.Entry, durable bool) error {
	return j.do(func() error { return j.Journal.Write(ctx, e, durable) })
}

type pluggedJournal struct {
	broker.Journal
	*plug
}

func (p *plug) do(f func() error) error {
	happens, isTold := p.step()
	var err error
	if happens {
		err = f()
	}
	if !isTold {
		return errOut
	}
	return err
}

type pluggedStore struct {
	store.Store
	*plug
}

func (s pluggedStore) Put(ctx context.Context, n store.Name, v store.Secret, m store.Mode) error {
	return s.do(func() error { return s.Store.Put(ctx, n, v, m) })
}

func (s pluggedStore) Delete(ctx context.Context, n store.Name) error {
	return s.do(func() error { return s.Store.Delete(ctx, n) })
}

// plugIn puts a plug between the gateway and its journal, its store and GitHub.
func (w *world) plugIn() *plug {
	p := new(plug)
	w.Access.Broker.Journal = pluggedJournal{w.Access.Broker.Journal, p}
	w.Access.Broker.Store = pluggedStore{w.Access.Broker.Store, p}
	isStep := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/git/refs/") || r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack")
	}
	var mu sync.Mutex
	lost := false // the current request happens, but its answer is lost
	w.Fail(func(r *http.Request) bool {
		if !isStep(r) {
			return false
		}
		happens, isTold := p.step()
		mu.Lock()
		defer mu.Unlock()
		lost = happens && !isTold
		return !happens
	}, fakegithub.Reset(), -1)
	w.Fail(func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return isStep(r) && lost
	}, fakegithub.Truncate(0), -1)
	return p
}

// Whenever a broker is killed: a branch is at its old or its new object, a forced push
// never moves one, and the next broker's sweep leaves nothing behind.
func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills the gateway many times")
	}
	t.Parallel()
	for _, c := range []struct {
		name  string
		force bool
		after bool
	}{
		{"a fast-forward, before a step", false, false},
		{"a fast-forward, after a step", false, true},
		{"a forced push, before a step", true, false},
		{"a forced push, after a step", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newVerified(t, verified)
			p := w.plugIn()
			w.commit("whole")
			w.mustGit("push", "origin", "HEAD:"+work)
			steps := p.set(0, false)
			if steps < 8 {
				t.Fatalf("a push has %d steps, want the journal, the store, the push, the move and the deletion", steps)
			}
			for at := 1; at <= steps; at++ {
				was := w.ref(work)
				change := w.commit
				if c.force {
					change = w.diverge
				}
				head := change(fmt.Sprint("change ", at))
				p.set(at, c.after)
				out, ok := w.git("push", "-f", "origin", "HEAD:"+work)
				p.set(0, false)
				what := fmt.Sprintf("step %d of %d (git printed %s)", at, steps, out)
				if got := w.ref(work); got != was && got != head || c.force && got != was || ok && got != head {
					t.Errorf("%s: work went from %s to %s, want that or %s", what, was, got, head)
				}
				w.sweep()
				w.checkClean(what)
				w.session = w.Session("")
				w.mustGit("reset", "-q", "--hard", w.ref(work))
			}
		})
	}
}

// GitHub may carry out a push after the broker gave up waiting: the refs are checked
// once more after that time.
func TestQuarantineRefsThatComeLate(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes many times")
	}
	t.Parallel()
	for _, c := range []struct {
		name string
		fail func(w *world) (mend func())
	}{
		{"GitHub did not answer", func(w *world) func() { return w.Fail(isPush, fakegithub.Reset(), 1) }},
		{"the broker was killed", func(w *world) func() {
			p := w.plugIn()
			p.set(4, false) // before the push
			return func() { p.set(0, false) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newVerified(t, verified)
			w.commit("on top")
			mend := c.fail(w)
			if out, ok := w.git("push", "origin", "HEAD:"+work); ok {
				t.Fatalf("git push prints %s, want that it fails", out)
			}
			mend()
			w.Advance(2 * time.Minute)
			if err := w.gateway.Sweep(t.Context()); err != nil || w.entries() != 1 {
				t.Fatalf("Sweep = %v, and the store has %d entries, want the one of a push that may still come", err, w.entries())
			}
			for name := range w.Access.Broker.Store.List(t.Context(), store.Quarantines()) {
				repo, _ := w.Repository("acme", "widgets")
				ref := "refs/gatepass/" + path.Base(name.String()) + "-1"
				if out, err := exec.Command("git", "-C", repo.Dir, "update-ref", ref, w.ref(work)).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v", out, err)
				}
			}
			w.Advance(2 * time.Hour)
			if err := w.gateway.Sweep(t.Context()); err != nil {
				t.Errorf("Sweep = %v", err)
			}
			w.checkClean(c.name)
			swept := w.Journal.Of(broker.KindPush)
			if e := swept[len(swept)-1]; !strings.HasPrefix(e.Ref, "refs/gatepass/") || e.Operation != "delete" || e.Outcome != broker.OutcomeOK {
				t.Errorf("the audit log ends with %+v, want that the ref was deleted", e)
			}
		})
	}
}

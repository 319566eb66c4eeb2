package revoke

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

// workers is how many calls of the store or of GitHub run at once.
const workers = 20

// A sweep revokes what blocked workspaces hold.
type sweep struct {
	r  *Revoker
	by broker.Entry // of the audit log, for each token; the token is filled in
	// isShared says that workspaces which are not blocked may hold the same tokens. The
	// tokens are marked then, so that no replica answers with them from its cache.
	isShared bool
	ends     sync.Map  // func() error that revokes, by the token's ID
	began    time.Time // when the store was asked what the target holds

	mu        sync.Mutex         // guards the rest
	touched   map[string]touched // by the token's ID
	hit       map[string]bool    // workspaces that had one of the tokens
	asOf      time.Time          // when the store was asked who else holds them; zero while that is not known
	dead      []store.Name
	revoked   []string
	failed    int
	errs      []error
	unwritten error
}

// A choice says which of the tokens that brokers gave are to be revoked.
type choice func(broker.Vended) bool

// target revokes what the target holds: what brokers gave, and what was delivered. Of a
// workspace the caller sees to those that share its tokens ([sweep.others]).
func (s *sweep) target(ctx context.Context, t broker.Target) error {
	below := store.Workspaces()
	if t.Workspace != "" {
		folder, err := store.Workspace(t.Workspace)
		if err != nil {
			return err
		}
		below = folder
	}
	s.began = s.r.Now()
	names, err := byWorkspace(ctx, s.r.Store, below)
	if err != nil {
		s.fail(err)
		return err
	}
	isMeant := func(v broker.Vended) bool { return t.Owner == "" || v.IsOf(t.Owner) }
	s.isShared = t.Workspace != ""
	s.run(ctx, isMeant, jobsOf(names, t), s.shared(ctx, t))
	if t.Workspace == "" {
		s.asOf = s.began
	}
	return errors.Join(s.errs...)
}

// run does the jobs, one group after the other. It revokes all tokens before it deletes the
// first entry, since some stores take few writes in a second.
func (s *sweep) run(ctx context.Context, isMeant choice, groups ...[]job) {
	for _, jobs := range groups {
		s.each(ctx, len(jobs), func(i int) error {
			if jobs[i].vended.IsZero() {
				return s.delivered(ctx, jobs[i].workspace)
			}
			return s.vended(ctx, jobs[i], isMeant)
		})
	}
	s.remove(ctx, s.dead)
}

// remove deletes entries, with few calls where the store takes several names at once.
func (s *sweep) remove(ctx context.Context, names []store.Name) {
	if deleter, ok := s.r.Store.(store.Deleter); ok {
		if err := deleter.DeleteAll(ctx, names); err != nil {
			s.fail(err)
		}
		return
	}
	s.each(ctx, len(names), func(i int) error { return s.r.Store.Delete(ctx, names[i]) })
}

// each calls do for 0 to n-1, several at a time, and counts what fails.
func (s *sweep) each(ctx context.Context, n int, do func(int) error) {
	var running errgroup.Group
	running.SetLimit(workers)
	for i := range n {
		running.Go(func() error {
			err := ctx.Err()
			if err == nil {
				err = do(i)
			}
			if err != nil {
				s.fail(err)
			}
			return nil
		})
	}
	_ = running.Wait() // fail has them
}

func (s *sweep) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed++
	if len(s.errs) < 10 { // enough to see what it is
		s.errs = append(s.errs, err)
	}
}

// answer is what an operator is told of it.
func (s *sweep) answer(t broker.Target) api.Revocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	hashes := slices.Sorted(slices.Values(s.revoked))
	return api.Revocation{
		Target: api.Target(t), Revoked: append([]string{}, slices.Compact(hashes)...), Pending: s.failed,
		Workspaces: append([]string{}, slices.Sorted(maps.Keys(s.hit))...), AsOf: s.asOf.UTC(),
	}
}

// A job is one thing to do: a token that a broker gave or that replicas share, or all that
// was delivered to a workspace.
type job struct {
	workspace string     // "" for what replicas share
	vended    store.Name // zero for what was delivered
}

// jobsOf finds the jobs by names alone. Where a name does not tell the owner, the job
// finds out.
func jobsOf(names map[string][]store.Name, t broker.Target) []job {
	var jobs []job
	for id, list := range names {
		isDelivered := false
		for _, name := range list {
			if name.IsVended() {
				jobs = append(jobs, job{id, name})
			}
			isDelivered = isDelivered || mayHold(name, t)
		}
		if isDelivered {
			jobs = append(jobs, job{workspace: id})
		}
	}
	return jobs
}

// mayHold reports whether a token of the target may be delivered there.
func mayHold(name store.Name, t broker.Target) bool {
	owner, isOwned := name.Owner()
	isOthers := t.Owner != "" && isOwned && !strings.EqualFold(owner, t.Owner)
	return (name.IsToken() || name.IsSuperseded()) && !isOthers
}

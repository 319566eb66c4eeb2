package revoke

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// workers is how many calls of the store or of GitHub run concurrently.
const workers = 20

// A sweep revokes what blocked workspaces hold.
type sweep struct {
	r  *Revoker
	by broker.Entry // the audit entry for each token, without the token
	// isShared means that workspaces which are not blocked may hold the same tokens.
	// The tokens are then marked, so that no replica answers with them from its cache.
	isShared bool
	ends     sync.Map  // by token ID: a func() error that revokes it
	began    time.Time // when the store was asked what the target holds

	mu        sync.Mutex         // guards the rest
	touched   map[string]touched // by token ID
	hit       map[string]bool    // workspaces that had one of the tokens
	asOf      time.Time          // when the list of other holders was read; zero if unknown
	dead      []store.Name
	revoked   []string
	failed    int
	errs      []error
	unwritten error
}

// A choice reports whether a token that a broker gave must be revoked.
type choice func(broker.Vended) bool

// target revokes what the target holds: tokens that brokers gave, and delivered ones.
// For a workspace, the caller must also handle those that share its tokens
// ([sweep.others]).
func (s *sweep) target(ctx context.Context, t blocklist.Target) error {
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

// run does the jobs, one group after the other. It revokes all tokens before it deletes
// any entry, because some stores allow few writes per second.
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

// remove deletes entries. It needs few calls if the store can delete several at once.
func (s *sweep) remove(ctx context.Context, names []store.Name) {
	if deleter, ok := s.r.Store.(store.Deleter); ok {
		if err := deleter.DeleteAll(ctx, names); err != nil {
			s.fail(err)
		}
		return
	}
	s.each(ctx, len(names), func(i int) error { return s.r.Store.Delete(ctx, names[i]) })
}

// each calls do for 0 to n-1, several at a time, and counts the failures.
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
	_ = running.Wait() // fail has the errors
}

func (s *sweep) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed++
	if len(s.errs) < 10 { // a few are enough to see the cause
		s.errs = append(s.errs, err)
	}
}

// answer returns the result for the operator.
func (s *sweep) answer(t blocklist.Target) api.Revocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	hashes := slices.Sorted(slices.Values(s.revoked))
	return api.Revocation{
		Target: api.Target(t), Revoked: append([]string{}, slices.Compact(hashes)...), Pending: s.failed,
		Workspaces: append([]string{}, slices.Sorted(maps.Keys(s.hit))...), AsOf: s.asOf.UTC(),
	}
}

// A job is one thing to revoke: a token that a broker gave or that replicas share, or
// everything delivered to a workspace.
type job struct {
	workspace string     // "" for a shared token
	vended    store.Name // zero for delivered tokens
}

// jobsOf finds the jobs by names alone. If a name does not tell the owner, the job
// reads it.
func jobsOf(names map[string][]store.Name, t blocklist.Target) []job {
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

// mayHold reports whether the name's workspace may have a delivered token of the
// target.
func mayHold(name store.Name, t blocklist.Target) bool {
	owner, isOwned := name.Owner()
	isOthers := t.Owner != "" && isOwned && !strings.EqualFold(owner, t.Owner)
	return (name.IsToken() || name.IsSuperseded()) && !isOthers
}

// forget drops the tokens of new blocks from the cache. It is Blocklist.OnAdded.
func (r *Revoker) forget(added store.Blocks) {
	r.Cache.Drop(func(s broker.Scope, t credential.Token) bool {
		return added.Has("", s.Repo.Owner) || IsMarked(added, t)
	})
}

// IsMarked reports whether a token is marked as revoked.
func IsMarked(blocks store.Blocks, t credential.Token) bool {
	return blocks.Tokens[t.ID().String()]
}

// vended revokes a token that a broker gave.
func (s *sweep) vended(ctx context.Context, j job, isMeant choice) error {
	entry, err := s.r.Store.Get(ctx, j.vended)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if errors.Is(err, store.ErrDamaged) {
		return s.missed(ctx, j, err)
	}
	if err != nil {
		return err
	}
	if _, err := store.ClaimedUntil(entry); err == nil && j.vended.IsShared() {
		return nil // a replica is minting
	}
	v := broker.ReadVended(entry)
	if !isMeant(v) {
		return nil
	}
	if v.Token.Expiry.After(s.r.TokenTime()) {
		err = s.end(ctx, j, v)
		if s.hits(j.workspace); !v.IsOwn {
			s.touch(j.vended, v.Token.Hash(), err == nil)
		}
	}
	switch {
	case errors.Is(err, errCounted):
		return nil
	case err != nil:
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = append(s.dead, j.vended)
	return nil
}

// errCounted reports that a shared token is not revoked, which is already counted for
// the workspaces that have it.
var errCounted = errors.New("the token is not revoked")

// missed records in the audit log that a token cannot be revoked because its entry is
// damaged. The entry is deleted afterwards, so this happens once.
func (s *sweep) missed(ctx context.Context, j job, damage error) error {
	e := s.by
	e.Time, e.Workspace, e.Decision, e.Reason = s.r.Now().UTC(), j.workspace, broker.Refused, broker.ReasonStore
	e.Detail = "what the store has of a token is damaged: it cannot be revoked, and runs out within an hour"
	s.r.Log.ErrorContext(ctx, "a token cannot be revoked, and runs out within an hour", "error", damage)
	if err := s.r.Journal.Write(context.WithoutCancel(ctx), e, false); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = append(s.dead, j.vended)
	return nil
}

// end revokes a live token.
func (s *sweep) end(ctx context.Context, j job, v broker.Vended) error {
	once, isKnown := s.ends.LoadOrStore(v.Token.ID(), sync.OnceValue(func() error { return s.revoke(ctx, v.Token, j.vended) }))
	isKnown = isKnown && j.vended.IsShared() // the outcome is recorded for the workspaces that had it
	err := once.(func() error)()
	switch {
	case err != nil && isKnown:
		return errCounted
	case err != nil:
		return err
	case !isKnown:
		s.note(ctx, j.workspace, v.Token.Hash(), "")
	}
	return nil
}

// revoke revokes a token; name is one of its entries. It asks GitHub once for all
// workspaces that hold the token.
func (s *sweep) revoke(ctx context.Context, t credential.Token, name store.Name) error {
	if s.isShared {
		if err := s.r.Blocklist.BlockToken(ctx, t, name); err != nil {
			return err
		}
	}
	return s.r.App.Revoke(ctx, t)
}

// delivered revokes the blocked tokens that were delivered to a workspace.
func (s *sweep) delivered(ctx context.Context, id string) error {
	issuer, err := s.r.Issuer(ctx)
	if err != nil {
		return err
	}
	own := *issuer
	own.Audit = func(e workspace.Event) {
		if e.Type == workspace.Ended {
			s.note(ctx, id, e.Hash, "")
		}
	}
	return own.Withdraw(ctx, id)
}

// note records in the audit log that a token was revoked.
func (s *sweep) note(ctx context.Context, workspace, hash, detail string) {
	e := s.by
	e.Time, e.Workspace, e.Hash, e.Detail = s.r.Now().UTC(), workspace, hash, cmp.Or(detail, e.Detail)
	err := s.r.Journal.Write(context.WithoutCancel(ctx), e, false)
	s.hits(workspace)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unwritten = errors.Join(s.unwritten, err)
	s.revoked = append(s.revoked, hash)
}

// lost returns why entries are missing in the audit log; nil if none are.
func (s *sweep) lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unwritten
}

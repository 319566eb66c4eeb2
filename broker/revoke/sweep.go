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
	revoker *Revoker
	by      broker.Entry // the audit entry for each token, without the token
	// isShared means that workspaces which are not blocked may hold the same tokens.
	// The tokens are then marked, so that no replica answers with them from its cache.
	isShared bool
	outcomes sync.Map  // by token ID: a func() error that revokes it
	began    time.Time // when the store was asked what the target holds

	mu         sync.Mutex               // guards the rest
	affected   map[string]affectedToken // by token ID
	workspaces map[string]bool          // workspaces that had one of the tokens
	asOf       time.Time                // when the list of other holders was read; zero if unknown
	toDelete   []store.Name
	revoked    []string
	failed     int
	errs       []error
	auditErr   error
}

// A choice reports whether a token that a broker gave must be revoked.
type choice func(broker.Vended) bool

// target revokes what the target holds: tokens that brokers gave, and delivered ones.
// For a workspace, the caller must also handle those that share its tokens
// ([sweep.revokeSharers]).
func (s *sweep) target(ctx context.Context, t blocklist.Target) error {
	below := store.Workspaces()
	if t.Workspace != "" {
		folder, err := store.Workspace(t.Workspace)
		if err != nil {
			return err
		}
		below = folder
	}
	s.began = s.revoker.Now()
	names, err := byWorkspace(ctx, s.revoker.Store, below)
	if err != nil {
		s.fail(err)
		return err
	}
	isMeant := func(v broker.Vended) bool { return t.Owner == "" || v.IsOf(t.Owner) }
	s.isShared = t.Workspace != ""
	s.run(ctx, isMeant, s.inBulk(ctx, below, jobsOf(names, t), isMeant), s.shared(ctx, t))
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
	s.remove(ctx, s.toDelete)
}

// remove deletes entries. It needs few calls if the store can delete several at once.
func (s *sweep) remove(ctx context.Context, names []store.Name) {
	if deleter, ok := s.revoker.Store.(store.Deleter); ok {
		if err := deleter.DeleteAll(ctx, names); err != nil {
			s.fail(err)
		}
		return
	}
	s.each(ctx, len(names), func(i int) error { return s.revoker.Store.Delete(ctx, names[i]) })
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
		Workspaces: append([]string{}, slices.Sorted(maps.Keys(s.workspaces))...), AsOf: s.asOf.UTC(),
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

// dropCached drops the tokens of new blocks from the cache. It is Blocklist.OnAdded.
func (r *Revoker) dropCached(added store.Blocks) {
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
	entry, err := s.revoker.Store.Get(ctx, j.vended)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if errors.Is(err, store.ErrDamaged) {
		return s.recordDamaged(ctx, j, err)
	}
	if err != nil {
		return err
	}
	return s.revokeEntry(ctx, j, entry, isMeant)
}

// revokeEntry revokes the token in an entry.
func (s *sweep) revokeEntry(ctx context.Context, j job, entry store.Entry, isMeant choice) (err error) {
	if _, err := store.ClaimedUntil(entry); err == nil && j.vended.IsShared() {
		return nil // a replica is minting
	}
	v := broker.ReadVended(entry)
	if !isMeant(v) {
		return nil
	}
	if v.Token.Expiry.After(s.revoker.TokenTime()) {
		err = s.revokeOnce(ctx, j, v)
		if s.addWorkspace(j.workspace); !v.IsOwn {
			s.addAffected(j.vended, v.Token.Hash(), err == nil)
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
	s.toDelete = append(s.toDelete, j.vended)
	return nil
}

// errCounted reports that a shared token is not revoked, which is already counted for
// the workspaces that have it.
var errCounted = errors.New("the token is not revoked")

// recordDamaged records in the audit log that a token cannot be revoked because its entry is
// damaged. The entry is deleted afterwards, so this happens once.
func (s *sweep) recordDamaged(ctx context.Context, j job, damage error) error {
	e := s.by
	e.Time, e.Workspace, e.Decision, e.Reason = s.revoker.Now().UTC(), j.workspace, broker.Refused, broker.ReasonStore
	e.Detail = "the store's entry for a token is damaged: the token cannot be revoked, and expires within an hour"
	s.revoker.Log.ErrorContext(ctx, "a token cannot be revoked, and expires within an hour", "error", damage)
	if err := s.revoker.Journal.Write(context.WithoutCancel(ctx), e, false); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toDelete = append(s.toDelete, j.vended)
	return nil
}

// revokeOnce revokes a live token.
func (s *sweep) revokeOnce(ctx context.Context, j job, v broker.Vended) error {
	once, isKnown := s.outcomes.LoadOrStore(v.Token.ID(), sync.OnceValue(func() error { return s.revoke(ctx, v.Token, j.vended) }))
	isKnown = isKnown && j.vended.IsShared() // the outcome is recorded for the workspaces that had it
	err := once.(func() error)()
	switch {
	case err != nil && isKnown:
		return errCounted
	case err != nil:
		return err
	case !isKnown:
		s.recordRevoked(ctx, j.workspace, v.Token.Hash(), "")
	}
	return nil
}

// revoke revokes a token; name is one of its entries. It asks GitHub once for all
// workspaces that hold the token.
func (s *sweep) revoke(ctx context.Context, t credential.Token, name store.Name) error {
	if s.isShared {
		if err := s.revoker.Blocklist.BlockToken(ctx, t, name); err != nil {
			return err
		}
	}
	return s.revoker.App.Revoke(ctx, t)
}

// delivered revokes the blocked tokens that were delivered to a workspace.
func (s *sweep) delivered(ctx context.Context, id string) error {
	issuer, err := s.revoker.Issuer(ctx)
	if err != nil {
		return err
	}
	own := *issuer
	own.Audit = func(e workspace.Event) {
		if e.Type == workspace.Ended {
			s.recordRevoked(ctx, id, e.Hash, "")
		}
	}
	return own.RevokeBlocked(ctx, id)
}

// recordRevoked records in the audit log that a token was revoked.
func (s *sweep) recordRevoked(ctx context.Context, workspace, hash, detail string) {
	e := s.by
	e.Time, e.Workspace, e.Hash, e.Detail = s.revoker.Now().UTC(), workspace, hash, cmp.Or(detail, e.Detail)
	err := s.revoker.Journal.Write(context.WithoutCancel(ctx), e, false)
	s.addWorkspace(workspace)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auditErr = errors.Join(s.auditErr, err)
	s.revoked = append(s.revoked, hash)
}

// auditError returns why entries are missing in the audit log; nil if none are.
func (s *sweep) auditError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.auditErr
}

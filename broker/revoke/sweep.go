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

	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// workers is how many calls of the store or of GitHub run at once.
const workers = 20

// forget drops the tokens of new bars from the cache. It is the Took of the bars.
func (r *Revoker) forget(added store.Bars) {
	r.Cache.Drop(func(s broker.Scope, t credential.Token) bool {
		return added.Has("", s.Repo.Owner) || IsMarked(added, t)
	})
}

// IsMarked reports whether a token was revoked before its end.
func IsMarked(bars store.Bars, t credential.Token) bool {
	return bars.Tokens[t.ID().String()]
}

// A sweep revokes what barred workspaces hold.
type sweep struct {
	r  *Revoker
	by broker.Entry // of the audit log, for each token; the token is filled in
	// isShared says that workspaces which are not barred may hold the same tokens. The
	// tokens are marked then, so that no replica answers with them from its cache.
	isShared bool
	ends     sync.Map // func() error that revokes, by the token's ID

	mu        sync.Mutex      // guards the rest
	touched   map[string]bool // IDs of the tokens to be revoked that others may have; true once revoked
	hit       map[string]bool // workspaces that had one of the tokens
	asOf      time.Time       // when the store was asked who else holds them
	dead      []store.Name
	revoked   []string
	failed    int
	errs      []error
	unwritten error
}

// A choice says which of the tokens that brokers gave are to be revoked.
type choice func(broker.Vended) bool

// target revokes what the target holds: what brokers gave, and what was delivered.
func (s *sweep) target(ctx context.Context, t broker.Target) error {
	below := store.Workspaces()
	if t.Workspace != "" {
		folder, err := store.Workspace(t.Workspace)
		if err != nil {
			return err
		}
		below = folder
	}
	asOf := s.r.Now()
	names, err := byWorkspace(ctx, s.r.Store, below)
	if err != nil {
		s.fail(err)
		return err
	}
	isMeant := func(v broker.Vended) bool { return t.Owner == "" || v.IsOf(t.Owner) }
	s.isShared = t.Workspace != ""
	s.run(ctx, isMeant, jobsOf(names, t), s.shared(ctx, t))
	if s.asOf = asOf; t.Workspace != "" {
		s.others(ctx)
	}
	return errors.Join(s.errs...)
}

// shared finds what replicas share of an account or of the App. What they share with a
// blocked workspace is marked instead, for other workspaces may be given the next.
func (s *sweep) shared(ctx context.Context, t broker.Target) []job {
	below, err := store.AllShared(), error(nil)
	switch {
	case t.Workspace != "":
		return nil
	case t.Owner != "":
		below, err = store.SharedOf(t.Owner)
	}
	var jobs []job
	if err == nil {
		for name, listErr := range s.r.Store.List(ctx, below) {
			if err = listErr; err != nil {
				break
			}
			jobs = append(jobs, job{vended: name})
		}
	}
	if err != nil {
		s.fail(err)
	}
	return jobs
}

// others finds the other workspaces that hold the tokens. It writes to the audit log that
// they lost the revoked ones, and deletes their entries.
func (s *sweep) others(ctx context.Context) {
	if len(s.touched) == 0 {
		return
	}
	s.asOf = time.Time{}
	found, err := s.r.List(ctx)
	if err != nil {
		s.r.Log.ErrorContext(ctx, "find who else had a token that is revoked", "error", err)
		return
	}
	s.asOf = found.AsOf
	var gone []job
	for id, list := range found.Names {
		for _, name := range list {
			isDead, isMeant := s.touched[name.TokenID()]
			if !isMeant || slices.Contains(s.dead, name) {
				continue
			}
			s.hits(id)
			if isDead {
				gone = append(gone, job{id, name})
			}
		}
	}
	s.each(ctx, len(gone), func(i int) error { return s.share(ctx, gone[i]) })
}

// share writes to the audit log that a workspace lost a token because it shared it.
func (s *sweep) share(ctx context.Context, j job) error {
	entry, err := s.r.Store.Get(ctx, j.vended)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		s.note(ctx, j.workspace, broker.ReadVended(entry).Token.Hash(), "it shared this token")
		err = s.r.Store.Delete(ctx, j.vended)
	}
	return err
}

// touch remembers a token that is to be revoked and that others may have, and whether it is.
func (s *sweep) touch(name store.Name, isDead bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.touched == nil {
		s.touched = map[string]bool{}
	}
	s.touched[name.TokenID()] = isDead
}

func (s *sweep) hits(workspace string) {
	if workspace == "" { // of what replicas share
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hit == nil {
		s.hit = map[string]bool{}
	}
	s.hit[workspace] = true
}

// workspaces returns those that held one of the tokens, sorted.
func (s *sweep) workspaces() []string {
	return append([]string{}, slices.Sorted(maps.Keys(s.hit))...)
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
	s.each(ctx, len(s.dead), func(i int) error { return s.r.Store.Delete(ctx, s.dead[i]) })
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

// changed revokes the tokens that brokers gave for what GitHub changed, which are those
// that replicas share. Tokens of a suspended installation open nothing and cannot be
// revoked; they are no error.
func (s *sweep) changed(ctx context.Context, ch Change) error {
	names, isAll, err := s.r.sharedFor(ctx, ch)
	if err != nil {
		return err
	}
	var shared []job
	for _, name := range names {
		shared = append(shared, job{vended: name})
	}
	given, err := s.unshared(ctx, isAll)
	if err != nil {
		return err
	}
	s.run(ctx, ch.isMeant, given, shared)
	isSuspended := func(err error) bool {
		failure, ok := errors.AsType[*mint.Error](err)
		return ok && failure.Kind == mint.Suspended
	}
	return errors.Join(slices.DeleteFunc(s.errs, isSuspended)...)
}

// unsharedTime is how long after its start a broker takes it that workspaces may have tokens
// that are not among the shared ones: brokers of the version before, which may have run
// until then and for a while beside it, shared none.
const unsharedTime = 2 * credential.Lifetime

// unshared lists all that brokers gave, where tokens may not be among the shared ones. It
// reads the names of all workspaces. isAll says that each token of the accounts in question
// is among the shared ones, but for those of brokers of before.
func (s *sweep) unshared(ctx context.Context, isAll bool) ([]job, error) {
	if isAll && s.r.Cache.Shared != nil && s.r.Now().Sub(s.r.began) >= unsharedTime {
		return nil, nil
	}
	names, err := byWorkspace(ctx, s.r.Store, store.Workspaces())
	if err != nil {
		return nil, err
	}
	var jobs []job
	for id, list := range names {
		for _, name := range list {
			if name.IsVended() {
				jobs = append(jobs, job{id, name})
			}
		}
	}
	return jobs, nil
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

func (s *sweep) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed++
	if len(s.errs) < 10 { // enough to see what it is
		s.errs = append(s.errs, err)
	}
}

func (s *sweep) hashes() []string {
	slices.Sort(s.revoked)
	return append([]string{}, slices.Compact(s.revoked)...)
}

// vended ends a token that a broker gave.
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
		return nil // a replica mints
	}
	v := broker.ReadVended(entry)
	if !isMeant(v) {
		return nil
	}
	if v.Token.Expiry.After(s.r.TokenTime()) {
		err = s.end(ctx, j, v)
		if s.hits(j.workspace); !v.IsOwn {
			s.touch(j.vended, err == nil)
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

// errCounted reports that a token which replicas share is not revoked, and that this is
// counted for the workspaces that have it.
var errCounted = errors.New("the token is not revoked")

// missed writes to the audit log that a token cannot be revoked because its entry is
// damaged. The entry is deleted afterwards, so this is written once.
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

// end revokes a token that is alive.
func (s *sweep) end(ctx context.Context, j job, v broker.Vended) error {
	once, isKnown := s.ends.LoadOrStore(v.Token.ID(), sync.OnceValue(func() error { return s.revoke(ctx, v.Token, j.vended) }))
	isKnown = isKnown && j.vended.IsShared() // and the log says what came of it for the workspaces that had it
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

// revoke ends a token, of which name is an entry. It asks GitHub once for all workspaces
// that hold the token.
func (s *sweep) revoke(ctx context.Context, t credential.Token, name store.Name) error {
	if s.isShared {
		if err := s.r.Bars.BarToken(ctx, t, name); err != nil {
			return err
		}
	}
	return s.r.App.Revoke(ctx, t)
}

// delivered revokes the barred tokens that were delivered to a workspace.
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

// note writes to the audit log that a token is revoked.
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

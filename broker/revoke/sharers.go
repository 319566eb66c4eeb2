package revoke

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"
	"github.com/gatepass/gatepass/store"
)

// shared finds the shared tokens of an account or of the App. For a blocked workspace
// it finds none: its shared tokens are only marked, because other workspaces use them.
func (s *sweep) shared(ctx context.Context, t blocklist.Target) []job {
	below, err := store.AllShared(), error(nil)
	switch {
	case t.Workspace != "":
		return nil
	case t.Owner != "":
		below, err = store.SharedOf(t.Owner)
	}
	var jobs []job
	if err == nil {
		for name, listErr := range s.revoker.Store.List(ctx, below) {
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

const (
	// sharersWait is how long an operator's answer waits until the workspaces that
	// shared the tokens are found and their entries deleted.
	sharersWait = 2 * time.Second
	// sharersPause is the least pause between two calls for a list of all workspaces, in
	// a store without pages: it uses a quarter of the 40 reads per second that AWS's
	// Parameter Store answers, so that replicas can still look for blocks. A read
	// lists ten names.
	sharersPause = 100 * time.Millisecond
	// sharersTimeout is the time limit for that, after the answer was given.
	sharersTimeout = listingTimeout + 5*time.Minute
)

// An affectedToken is a token to revoke that other workspaces may have.
type affectedToken struct {
	hash      string
	isRevoked bool // it has been revoked
}

// revokeSharersSoon does what revokeSharers does, but returns after at most sharersWait; the rest
// goes on in the background.
func (s *sweep) revokeSharersSoon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharersTimeout)
	done := make(chan struct{})
	s.revoker.background.Go(func() {
		defer cancel()
		defer close(done)
		s.revokeSharers(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := errors.Join(s.errs...); err != nil {
			s.revoker.Log.ErrorContext(ctx, "the tokens of a block are not yet revoked or not yet deleted", "error", err)
		}
	})
	select {
	case <-done:
	case <-time.After(sharersWait):
	}
}

// revokeSharers finds the other workspaces that hold the tokens. It records in the audit log
// that they lost the revoked ones, and deletes their entries.
func (s *sweep) revokeSharers(ctx context.Context) {
	if len(s.affected) == 0 {
		s.setAsOf(s.began)
		return
	}
	least := sharersPause
	if _, ok := s.revoker.Store.(store.Pager); ok {
		least = indexedPause
	}
	found, err := s.revoker.List(store.WithPause(ctx, func(took time.Duration) error { return pause(ctx, least, took) }))
	if err != nil {
		s.revoker.Log.ErrorContext(ctx, "find the other workspaces of a revoked token", "error", err)
		return
	}
	var gone []store.Name
	for id, list := range found.Names {
		for _, name := range list {
			t, isMeant := s.affected[name.TokenID()]
			if !isMeant || slices.Contains(s.toDelete, name) {
				continue
			}
			s.addWorkspace(id)
			if t.isRevoked {
				s.recordRevoked(ctx, id, t.hash, "it shared this token")
				gone = append(gone, name)
			}
		}
	}
	s.setAsOf(found.AsOf)
	s.remove(ctx, gone)
}

// setAsOf records when the store was asked who else holds the tokens.
func (s *sweep) setAsOf(asOf time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asOf = asOf
}

// addAffected remembers a token that must be revoked and that others may have, and whether it
// has been revoked.
func (s *sweep) addAffected(name store.Name, hash string, isDead bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.affected == nil {
		s.affected = map[string]affectedToken{}
	}
	s.affected[name.TokenID()] = affectedToken{hash, isDead}
}

func (s *sweep) addWorkspace(workspace string) {
	if workspace == "" { // a shared token
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workspaces == nil {
		s.workspaces = map[string]bool{}
	}
	s.workspaces[workspace] = true
}

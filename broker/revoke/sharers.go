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

const (
	// sharersPatience is how long an operator's answer waits until the workspaces that
	// shared the tokens are found and their entries deleted.
	sharersPatience = 2 * time.Second
	// sharersPause is the least pause between two calls for a list of all workspaces.
	// AWS's Parameter Store answers 40 reads per second, and lists ten names per read.
	sharersPause = 50 * time.Millisecond
	// sharersTime is the time limit for that, after the answer was given.
	sharersTime = listingTime + 5*time.Minute
)

// A touched is a token to revoke that other workspaces may have.
type touched struct {
	hash   string
	isDead bool // it has been revoked
}

// othersSoon does what others does, but returns after at most sharersPatience; the rest
// goes on in the background.
func (s *sweep) othersSoon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharersTime)
	done := make(chan struct{})
	s.r.behind.Go(func() {
		defer cancel()
		defer close(done)
		s.others(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := errors.Join(s.errs...); err != nil {
			s.r.Log.ErrorContext(ctx, "what was blocked is not revoked yet, or not deleted", "error", err)
		}
	})
	select {
	case <-done:
	case <-time.After(sharersPatience):
	}
}

// others finds the other workspaces that hold the tokens. It records in the audit log
// that they lost the revoked ones, and deletes their entries.
func (s *sweep) others(ctx context.Context) {
	if len(s.touched) == 0 {
		s.seen(s.began)
		return
	}
	found, err := s.r.List(store.WithPause(ctx, func(took time.Duration) error { return pause(ctx, sharersPause, took) }))
	if err != nil {
		s.r.Log.ErrorContext(ctx, "find who else had a token that is revoked", "error", err)
		return
	}
	var gone []store.Name
	for id, list := range found.Names {
		for _, name := range list {
			t, isMeant := s.touched[name.TokenID()]
			if !isMeant || slices.Contains(s.dead, name) {
				continue
			}
			s.hits(id)
			if t.isDead {
				s.note(ctx, id, t.hash, "it shared this token")
				gone = append(gone, name)
			}
		}
	}
	s.seen(found.AsOf)
	s.remove(ctx, gone)
}

// seen records when the store was asked who else holds the tokens.
func (s *sweep) seen(asOf time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asOf = asOf
}

// touch remembers a token that must be revoked and that others may have, and whether it
// has been revoked.
func (s *sweep) touch(name store.Name, hash string, isDead bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.touched == nil {
		s.touched = map[string]touched{}
	}
	s.touched[name.TokenID()] = touched{hash, isDead}
}

func (s *sweep) hits(workspace string) {
	if workspace == "" { // a shared token
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hit == nil {
		s.hit = map[string]bool{}
	}
	s.hit[workspace] = true
}

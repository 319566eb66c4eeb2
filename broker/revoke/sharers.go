package revoke

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

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

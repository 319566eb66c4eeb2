package revoke

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

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

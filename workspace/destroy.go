package workspace

import (
	"context"
	"errors"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// Destroy revokes every token of the workspace, deletes its entries in the store, and
// verifies that they are gone. It may be called again at any time. It returns the
// tokens that may live on because their value is lost: runs were killed before they
// could deliver them, and they expire by themselves ([Token.DiesBy]). If the record is
// damaged, Destroy assumes one lost token.
func (i *Issuer) Destroy(ctx context.Context, id string) (lost []Token, err error) {
	return i.destroy(ctx, id, func(r *run, err error) error {
		if _, isDamaged := errors.AsType[damagedError](err); !isDamaged {
			return err
		}
		r.record = &Record{ID: id, Created: r.ledger.clock.now(), version: version{isUnknown: true}}
		r.recordUnknown("the ledger record was damaged")
		return nil
	})
}

// ErrInUse reports that a workspace is in the ledger and must stay.
var ErrInUse = errors.New("it is in the ledger, and its destruction has not begun")

// Clear is like Destroy, for a workspace whose destruction has begun or that the ledger
// does not know. It does not touch any other workspace, even one that was just created,
// and returns an error that wraps [ErrInUse].
func (i *Issuer) Clear(ctx context.Context, id string) (lost []Token, err error) {
	return i.destroy(ctx, id, func(r *run, err error) error {
		if err != nil || r.record == nil || r.record.Destroying {
			return err
		}
		return &usererr.Error{Op: "clear workspace " + id, Err: ErrInUse, Hint: "to end it: gatepass workspace destroy " + id}
	})
}

// destroy calls check with the error of reading the record, to decide whether to go on;
// the run's record is nil if there is none. No other run works on the workspace
// meanwhile.
func (i *Issuer) destroy(ctx context.Context, id string, check func(*run, error) error) (lost []Token, err error) {
	names, err := folder(ctx, i.Store, id)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	err = i.run(ctx, id, func(ctx context.Context, r *run) error {
		var err error
		r.record, err = r.ledger.load(ctx, id)
		if errors.Is(err, store.ErrNotFound) { // from the first system, or half destroyed
			err = nil
		}
		if err = check(r, err); err != nil {
			return err
		}
		if r.record == nil {
			r.record = &Record{ID: id, Created: r.ledger.clock.now()}
		}
		err = r.end(ctx)
		lost = r.record.Lost(r.ledger.clock.earliest())
		return err
	})
	if err == nil {
		err = i.deleteLock(ctx, id)
	}
	return lost, err
}

// deleteLock deletes a lock that a run could not release, of a workspace that is gone.
func (i *Issuer) deleteLock(ctx context.Context, id string) error {
	names, err := folder(ctx, i.Store, id)
	if err != nil || len(names) != 1 || !names[0].IsLock() {
		return err
	}
	return i.Store.Delete(ctx, names[0])
}

// end removes everything. After its first write, no token is minted for the workspace.
func (r *run) end(ctx context.Context) error {
	r.record.Destroying = true
	if err := r.ledger.save(ctx, r.record); err != nil {
		return err
	}
	if err := r.reconcile(ctx, time.Time{}); err != nil {
		return r.conclude(ctx, err)
	}
	if err := removeAll(ctx, r.ledger.store, r.record.ID); err != nil {
		return err
	}
	r.audit(Event{Type: Destroyed, Workspace: r.record.ID})
	return nil
}

// removeAll deletes the record last, because a later run needs it to know what is left
// to do. The tokens are gone by then; another system wrote any that is still there.
func removeAll(ctx context.Context, s store.Store, id string) error {
	names, err := folder(ctx, s, id)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case name.IsToken() || name.IsSuperseded() || name.IsVended():
			return usererr.New("destroy workspace "+id, "another system delivers tokens to it at the same time", "stop that system for it, and destroy it again")
		case name.IsRecord() || name.IsLock():
			continue
		}
		if err := s.Delete(ctx, name); err != nil {
			return err
		}
	}
	record, err := store.Record(id)
	if err == nil {
		err = s.Delete(ctx, record)
	}
	if err != nil {
		return err
	}
	return prove(ctx, s, id)
}

// prove returns an error if anything is left except the lock, which ends with this run.
func prove(ctx context.Context, s store.Store, id string) error {
	names, err := folder(ctx, s, id)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !name.IsLock() {
			return usererr.New("destroy workspace "+id, name.String()+" is still in the store", "destroy it again")
		}
	}
	return nil
}

package workspace

import (
	"context"
	"errors"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// Destroy revokes every token of the workspace, deletes what the store has of
// it, and proves that it is gone. It may be called again at any time. It returns
// the tokens that may live on because nobody has their text: runs lost them
// before they could be delivered, and they run out by themselves
// ([Token.DiesBy]). Of a record that is damaged, one is taken to be lost.
func (i *Issuer) Destroy(ctx context.Context, id string) (lost []Token, err error) {
	return i.destroy(ctx, id, func(r *Record, err error) (*Record, error) {
		if _, isDamaged := errors.AsType[damagedError](err); isDamaged {
			return i.unreadable(id), nil
		}
		return r, err
	})
}

// unreadable stands for a record that is damaged. Nobody knows what was lost
// before it was.
func (i *Issuer) unreadable(id string) *Record {
	r := &Record{ID: id, Created: i.now(), seen: seen{isUnknown: true}}
	i.recordUnknown(r, "the ledger record was damaged")
	return r
}

// ErrInUse reports that a workspace is in the ledger and is to stay.
var ErrInUse = errors.New("the ledger knows it, and nobody has begun to destroy it")

// Clear is Destroy for a workspace that is over: whose destruction has begun, or
// of which the ledger knows nothing. Any other is left as it is, also when it was
// made a moment ago, with an error that wraps [ErrInUse].
func (i *Issuer) Clear(ctx context.Context, id string) (lost []Token, err error) {
	return i.destroy(ctx, id, func(r *Record, err error) (*Record, error) {
		if err != nil || r == nil || r.Destroying {
			return r, err
		}
		return nil, &usererr.Error{Op: "clear workspace " + id, Err: ErrInUse, Hint: "to end it: gatepass workspace destroy " + id}
	})
}

// destroy is told by check, which is given what came of reading the record, or
// nil where there is none, whether to go on. No other run works on the workspace
// meanwhile.
func (i *Issuer) destroy(ctx context.Context, id string, check func(*Record, error) (*Record, error)) (lost []Token, err error) {
	names, err := i.names(ctx, id)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	err = i.locked(ctx, id, func(ctx context.Context) error {
		r, err := i.Load(ctx, id)
		if errors.Is(err, store.ErrNotFound) { // of the first system, or half destroyed
			r, err = nil, nil
		}
		if r, err = check(r, err); err != nil {
			return err
		}
		if r == nil {
			r = &Record{ID: id, Created: i.now()}
		}
		err = i.end(ctx, r)
		lost = r.Lost(i.now().Add(-i.doubt()))
		return err
	})
	if err == nil {
		err = i.unlock(ctx, id)
	}
	return lost, err
}

// unlock deletes a lock that a run could not give back, of a workspace that is
// gone.
func (i *Issuer) unlock(ctx context.Context, id string) error {
	names, err := i.names(ctx, id)
	if err != nil || len(names) != 1 || !names[0].IsLock() {
		return err
	}
	return i.Store.Delete(ctx, names[0])
}

// Lost returns the tokens that may be alive and that nobody has.
func (r *Record) Lost(now time.Time) []Token {
	var lost []Token
	for _, t := range r.Tokens {
		if t.Lost && t.IsAlive(now) {
			lost = append(lost, t)
		}
	}
	return lost
}

// end takes everything away. From the first write on, nothing is minted for the
// workspace any more.
func (i *Issuer) end(ctx context.Context, r *Record) error {
	r.Destroying = true
	if err := i.save(ctx, r); err != nil {
		return err
	}
	if err := i.reconcile(ctx, r, time.Time{}); err != nil {
		return i.conclude(ctx, r, err)
	}
	if err := i.remove(ctx, r.ID); err != nil {
		return err
	}
	i.emit(Event{Type: Destroyed, Workspace: r.ID})
	return nil
}

// names are all that the store has of a workspace.
func (i *Issuer) names(ctx context.Context, id string) ([]store.Name, error) {
	folder, err := store.Workspace(id)
	if err != nil {
		return nil, err
	}
	var names []store.Name
	for name, err := range i.Store.List(ctx, folder) {
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// remove deletes the record last: without it, nobody would know what is left to
// do. Tokens are gone by then; one that is there was put by somebody else.
func (i *Issuer) remove(ctx context.Context, id string) error {
	names, err := i.names(ctx, id)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case name.IsToken() || name.IsSuperseded() || name.IsVended():
			return usererr.New("destroy workspace "+id, "somebody delivers tokens to it at the same time", "stop that, and destroy it again")
		case name.IsRecord() || name.IsLock():
			continue
		}
		if err := i.Store.Delete(ctx, name); err != nil {
			return err
		}
	}
	record, err := store.Record(id)
	if err == nil {
		err = i.Store.Delete(ctx, record)
	}
	if err != nil {
		return err
	}
	return i.prove(ctx, id)
}

// prove looks whether anything is left but the lock, which goes with this run.
func (i *Issuer) prove(ctx context.Context, id string) error {
	names, err := i.names(ctx, id)
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

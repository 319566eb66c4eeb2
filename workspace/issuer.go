// Package workspace is the issuing side of a workspace: the ledger record of its tokens,
// and the Issuer that mints and revokes them as its profile says.
package workspace

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace/profile"
)

// The defaults of an Issuer.
const (
	// DefaultMargin is the remaining lifetime below which a token is replaced.
	DefaultMargin = 20 * time.Minute
	// DefaultGrace is how long a superseded token stays alive. An agent uses the token
	// it has until five minutes before its expiry.
	DefaultGrace = 20 * time.Minute
)

// An Issuer mints tokens for workspaces and revokes them. App and Store must be set.
// Its methods may be called concurrently, also by several processes: only one run at a
// time works on a workspace. Other runs wait, or return an error that wraps [ErrBusy].
type Issuer struct {
	App   *mint.App
	Store store.Store

	// NotReady is why App cannot mint, or nil. Such an App can still revoke.
	NotReady error

	// Pool has further Apps; nil means that App is the only one.
	Pool *Pool

	// Installed returns the App's installations. nil means those in the store; for an
	// owner that is not there, GitHub is asked.
	Installed func(ctx context.Context) ([]mint.Installation, error)
	Catalog   *mint.Catalog    // nil means that every run lists repositories by itself
	Now       func() time.Time // nil means GitHub's clock, from App
	Margin    time.Duration    // 0 means DefaultMargin; a margin in the record takes precedence
	Grace     time.Duration    // 0 means DefaultGrace; a negative value means none
	Audit     func(Event)      // receives what was done to tokens; may be nil
	Adopt     bool             // replace and revoke live tokens that gatepass did not write; otherwise they are left alone
	LockWait  time.Duration    // how long to wait for another run to finish; 0 means not at all
	OnWait    func(id string)  // called once when a run begins to wait; may be nil

	shared *shared // by the runs of a round over all workspaces; nil outside of a round
}

// shared is what the runs of one round share.
type shared struct {
	apps   apps          // with what the runs learned about each App
	blocks *store.Blocks // as they were when the round began; written before runs begin
}

// Create makes the workspace's tokens as the profile says, or finishes what an earlier
// run began. It writes the record first. If a token cannot be minted now, a later run
// mints it; Create then returns both the record and the error. A margin of 0 means the
// issuer's own.
func (i *Issuer) Create(ctx context.Context, id string, p *profile.Profile, margin time.Duration) (record *Record, err error) {
	err = i.run(ctx, id, func(ctx context.Context, r *run) error {
		err := r.prepare(ctx, id, p, margin)
		if record = r.record; err != nil {
			return err
		}
		return r.recordOutcome(ctx, r.reconcile(ctx, time.Time{}))
	})
	return record, err
}

// prepare writes the access that the workspace may have to the record.
func (r *run) prepare(ctx context.Context, id string, p *profile.Profile, margin time.Duration) (err error) {
	r.record, err = r.ledger.load(ctx, id)
	r.isNew = errors.Is(err, store.ErrNotFound)
	switch {
	case r.isNew:
		r.record = &Record{ID: id, Created: r.ledger.clock.now()}
	case err != nil:
		return err
	case r.record.Destroying:
		return usererr.New("create workspace "+id, "it is being destroyed", "finish that first: gatepass workspace destroy "+id)
	}
	r.record.Profile, r.record.Access, r.record.Margin = p.Name, p.Access, margin
	err = r.ledger.save(ctx, r.record)
	if err == nil && r.isNew {
		r.audit(Event{Type: Created, Workspace: id, Permissions: p.Permissions.Levels()})
	}
	return err
}

// Refresh brings the workspace to the state in its record: it replaces tokens that
// expire soon, revokes superseded ones after their grace period, and finishes what a
// killed run left, including a destruction. With force it replaces all tokens.
func (i *Issuer) Refresh(ctx context.Context, id string, force bool) (record *Record, err error) {
	err = i.run(ctx, id, func(ctx context.Context, r *run) (err error) {
		if r.record, err = r.ledger.load(ctx, id); err != nil {
			return err
		}
		record = r.record
		if record.Destroying {
			return r.end(ctx)
		}
		since := time.Time{}
		if force {
			since = r.ledger.clock.now()
		}
		return r.recordOutcome(ctx, r.reconcile(ctx, since))
	})
	return record, err
}

// RevokeSuperseded is like Refresh without minting: it revokes tokens that were superseded long
// enough ago, and those that the ledger does not know.
func (i *Issuer) RevokeSuperseded(ctx context.Context, id string) error {
	return i.run(ctx, id, func(ctx context.Context, r *run) (err error) {
		if r.record, err = r.ledger.load(ctx, id); err != nil || r.record.Destroying {
			return err
		}
		installed, err := r.apps.stored(ctx)
		if err != nil {
			return err
		}
		if r.held, err = listHeld(ctx, i.Store, id); err != nil {
			return err
		}
		steps := Plan(r.record, r.held.held(), r.ledger.want(r.record, ownersOf(r.record.Repositories, installed)))
		steps = slices.DeleteFunc(steps, func(s Step) bool { return s.Do == Mint || s.Do == Leave })
		return usererr.Join(r.apply(ctx, steps), r.held.syncOnlyToken(ctx), r.clearExpected(ctx))
	})
}

// RevokeBlocked revokes the tokens that the workspace can read but must no longer have,
// because an operator blocked it, an owner or the App ([store.Blocks]). Other tokens
// stay, and so does the record; it mints nothing. After the block is lifted, the next
// run mints the tokens again. It does not handle tokens that brokers gave.
func (i *Issuer) RevokeBlocked(ctx context.Context, id string) error {
	return i.run(ctx, id, func(ctx context.Context, r *run) error {
		blocks, err := store.ReadBlocks(ctx, i.Store)
		if err != nil {
			return err
		}
		r.record, err = r.ledger.load(ctx, id)
		_, isDamaged := errors.AsType[damagedError](err)
		damage := err // the tokens in the store are revoked all the same
		switch {
		case errors.Is(err, store.ErrNotFound): // from the first system
			r.useTemporaryRecord(id)
			damage = nil
		case isDamaged:
			r.useTemporaryRecord(id)
			r.record.version.isUnknown = true
		case err != nil:
			return err
		}
		if r.held, err = listHeld(ctx, i.Store, id); err == nil {
			err = r.withdraw(ctx, blocks)
		}
		return usererr.Join(err, damage)
	})
}

// withdraw revokes the tokens that are blocked.
func (r *run) withdraw(ctx context.Context, blocks store.Blocks) error {
	want := r.ledger.want(r.record, allowed(r.record.tokenOwners(), r.record.ID, blocks))
	want.Adopt = true // whichever system wrote a token
	steps := slices.DeleteFunc(Plan(r.record, r.held.held(), want), func(s Step) bool {
		return s.Do != Revoke && s.Do != Forget || !blocks.Has(r.record.ID, s.Owner)
	})
	if err := r.apply(ctx, steps); err != nil {
		return err
	}
	return usererr.Join(r.held.syncOnlyToken(ctx), r.clearExpected(ctx))
}

// useTemporaryRecord makes the run work with a record that is not in the ledger.
func (r *run) useTemporaryRecord(id string) {
	r.record, r.isUnrecorded = &Record{ID: id, Created: r.ledger.clock.now()}, true
}

// Destroy revokes every token of the workspace, deletes its entries in the store, and
// verifies that they are gone. It may be called again at any time. It returns the
// tokens that may live on because their value is lost: runs were killed before they
// could deliver them, and they expire by themselves ([Token.ExpiresBy]). If the record is
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
var ErrInUse = errors.New("it is in the ledger, and destroy has not begun")

// FinishDestroy is like Destroy, for a workspace whose destruction has begun or that the ledger
// does not know. It does not touch any other workspace, even one that was just created,
// and returns an error that wraps [ErrInUse].
func (i *Issuer) FinishDestroy(ctx context.Context, id string) (lost []Token, err error) {
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
		return r.recordOutcome(ctx, err)
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
			return usererr.New("destroy workspace "+id, "another system delivers tokens to it at the same time", "stop that system for this workspace, and destroy it again")
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

// run calls work while no other run works on the workspace.
func (i *Issuer) run(ctx context.Context, id string, work func(context.Context, *run) error) error {
	return i.locks().hold(ctx, id, func(ctx context.Context, t lockTenure) error {
		r := &run{ledger: i.ledger(), apps: i.apps(), audit: i.emit}
		r.ledger.tenure = &t
		if i.shared != nil {
			r.blocks = i.shared.blocks
		}
		return work(ctx, r)
	})
}

func (i *Issuer) emit(e Event) {
	if i.Audit != nil {
		i.Audit(e)
	}
}

func (i *Issuer) clock() ledgerClock { return ledgerClock{app: i.App, fixed: i.Now} }

func (i *Issuer) ledger() ledger {
	grace := max(i.Grace, 0)
	if i.Grace == 0 {
		grace = DefaultGrace
	}
	return ledger{store: i.Store, clock: i.clock(), margin: cmp.Or(i.Margin, DefaultMargin), grace: grace, adopt: i.Adopt}
}

func (i *Issuer) locks() locks { return locks{i.Store, i.clock(), i.LockWait, i.OnWait} }

// apps returns the Apps of the round, or this run's own.
func (i *Issuer) apps() apps {
	if i.shared != nil {
		return i.shared.apps
	}
	a := apps{pool: i.Pool, clock: i.clock(), installed: i.Installed}
	for _, app := range i.Apps() {
		a.minters = append(a.minters, minter{PoolApp: app, clock: i.clock(), catalog: i.Catalog})
	}
	return a
}

// Apps returns all Apps. The first has the name [store.FirstApp].
func (i *Issuer) Apps() []PoolApp {
	all := []PoolApp{{Name: store.FirstApp, App: i.App, Store: i.Store, NotReady: i.NotReady}}
	if i.Pool != nil {
		all = append(all, i.Pool.Apps...)
	}
	return all
}

// CannotMint returns why no App can mint; nil if one can.
func (i *Issuer) CannotMint() error {
	for _, a := range i.Apps() {
		if a.NotReady == nil {
			return nil
		}
	}
	return i.NotReady
}

// Load reads a workspace's record. The error wraps [store.ErrNotFound] if there is
// none.
func (i *Issuer) Load(ctx context.Context, id string) (*Record, error) {
	return i.ledger().load(ctx, id)
}

// Sync asks GitHub for the time. Without an answer, the clock does not change.
func (i *Issuer) Sync(ctx context.Context) { i.clock().sync(ctx) }

// Time returns the time by the clock of the times in the ledger.
func (i *Issuer) Time() time.Time { return i.clock().now() }

// LockedFor returns how long a run may still hold the workspace; 0 if the lock was left
// behind. The error wraps [store.ErrNotFound] if there is no lock.
func (i *Issuer) LockedFor(ctx context.Context, id string) (time.Duration, error) {
	name, err := store.Lock(id)
	if err != nil {
		return 0, err
	}
	return i.locks().heldFor(ctx, name, "")
}

// Unlock removes a lock only if it was left behind.
func (i *Issuer) Unlock(ctx context.Context, id string) error {
	return i.run(ctx, id, func(context.Context, *run) error { return nil })
}

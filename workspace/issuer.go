package workspace

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// The defaults of an Issuer.
const (
	// DefaultMargin is how long a token has to last to be left alone.
	DefaultMargin = 20 * time.Minute
	// DefaultGrace is how long a token stays alive whose place another took. An
	// agent uses the token it has until five minutes before its end.
	DefaultGrace = 20 * time.Minute
)

// cleanUpWait bounds what is tidied up after the caller has given up.
const cleanUpWait = 10 * time.Second

// An Issuer gives workspaces their tokens and takes them away. App and Store
// must be set. Its methods may be called concurrently, by several processes
// too: for each workspace one run at a time does something. The others wait, or
// get an error that wraps [ErrBusy].
type Issuer struct {
	App   *mint.App
	Store store.Store

	// Unready says why App cannot mint, where it cannot; it can revoke then.
	Unready error

	// Pool are Apps beside App; nil means that there is one App only.
	Pool *Pool

	// Installed are the App's installations; nil means those of the store, and
	// for an owner that it does not know what GitHub says.
	Installed func(ctx context.Context) ([]mint.Installation, error)
	Catalog   *mint.Catalog    // nil means that every run lists repositories itself
	Now       func() time.Time // nil means GitHub's clock, as App knows it
	Margin    time.Duration    // 0 means DefaultMargin; a record's own counts more
	Grace     time.Duration    // 0 means DefaultGrace; less than 0 means none
	Audit     func(Event)      // told what was done to tokens; nil means nobody is
	Adopt     bool             // replace and revoke live tokens that gatepass did not write; otherwise they are left alone
	Patience  time.Duration    // how long to wait for another run to finish; 0 means not at all
	Waiting   func(id string)  // told once when a run begins to wait; nil means nobody is

	cache *passCache // what the runs of a pass have in common; nil outside of one

	// Of the issuer with one App of a pool: the store of the App's own entries, nil for
	// the first App, and why a workspace leaves the App that it had.
	ofApp store.Store
	moved string
}

// now is the time by GitHub's clock: so are the moments in the ledger, whichever
// machine writes them.
func (i *Issuer) now() time.Time {
	switch {
	case i.Now != nil:
		return i.Now().UTC()
	case i.App != nil:
		return i.App.Time().UTC()
	}
	return time.Now().UTC()
}

// machine is the time by this machine's clock, to measure how long something takes:
// now may jump when an answer tells GitHub's clock.
func (i *Issuer) machine() time.Time {
	if i.Now != nil {
		return i.Now()
	}
	return time.Now()
}

// Sync learns GitHub's clock. Without an answer it stays as it is.
func (i *Issuer) Sync(ctx context.Context) {
	if i.Now == nil && i.App != nil {
		_ = i.App.Sync(ctx)
	}
}

// Time returns the time by which the moments in the ledger are to be read.
func (i *Issuer) Time() time.Time { return i.now() }

// maxDoubt is what a clock is taken to be off that was never compared with GitHub's.
const maxDoubt = 24 * time.Hour

// doubt is how far now may be ahead of the time. A token that may be alive is not
// taken for one that ran out.
func (i *Issuer) doubt() time.Duration {
	if i.Now != nil || i.App == nil {
		return 0
	}
	if _, ok := i.App.Ahead(); ok {
		return 0
	}
	return maxDoubt
}

// want is what a run is to reach.
func (i *Issuer) want(r *Record, owners []string) Want {
	w := Want{Owners: map[string]string{}, Now: i.now(), Doubt: i.doubt(), Margin: DefaultMargin, Grace: DefaultGrace, Adopt: i.Adopt}
	for _, owner := range owners {
		w.Owners[owner] = r.Grant(owner)
	}
	if i.Margin != 0 {
		w.Margin = i.Margin
	}
	if r.Margin != 0 {
		w.Margin = r.Margin
	}
	if i.Grace != 0 {
		w.Grace = max(i.Grace, 0)
	}
	return w
}

// Load reads a workspace's record. It wraps [store.ErrNotFound] where there is
// none.
func (i *Issuer) Load(ctx context.Context, id string) (*Record, error) {
	name, err := store.Record(id)
	if err != nil {
		return nil, err
	}
	entry, err := i.Store.Get(ctx, name)
	return readRecord(id, entry, err)
}

// A Found is the record of one workspace, or why it cannot be read: one line that
// says what to do.
type Found struct {
	ID     string
	Record *Record
	Err    error
}

// Reason is Err without the workspace and what to do, for who says both.
func (f Found) Reason() error {
	if damage, ok := errors.AsType[damagedError](f.Err); ok {
		return damage
	}
	if later, ok := errors.AsType[laterError](f.Err); ok {
		return later
	}
	return f.Err
}

// Records yields what [store.Records] finds, also records that cannot be read. An
// error ends it.
func Records(ctx context.Context, s store.Store) iter.Seq2[Found, error] {
	return found(store.Records(ctx, s))
}

// found reads the records among entries.
func found(entries iter.Seq2[store.NamedEntry, error]) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		for entry, err := range entries {
			if err != nil && entry.Name.IsZero() {
				yield(Found{}, err)
				return
			}
			if !entry.Name.IsRecord() {
				continue
			}
			f := Found{}
			f.ID, _ = entry.Name.Workspace()
			f.Record, f.Err = readRecord(f.ID, entry.Entry, err)
			if !yield(f, nil) {
				return
			}
		}
	}
}

// readRecord reads the record of that workspace as the store has it; err is that of
// the store.
func readRecord(id string, entry store.Entry, err error) (*Record, error) {
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return nil, err
	}
	var r *Record
	if err == nil {
		r, err = ParseRecord([]byte(entry.Value.Reveal()))
	}
	if err == nil && r.ID != id {
		err = fmt.Errorf("the ledger record is of workspace %s", r.ID)
	}
	if _, isLater := errors.AsType[laterError](err); isLater {
		return nil, usererr.Wrap("read workspace "+id, err, "use the gatepass that wrote it")
	}
	if err != nil {
		return nil, &usererr.Error{Op: "read workspace " + id, Err: damagedError{err}, Hint: "end it, and make it again: gatepass workspace destroy " + id}
	}
	r.seen.version = entry.Version
	return r, nil
}

// A damagedError is what is wrong with a record that no gatepass wrote so.
type damagedError struct{ error }

func (d damagedError) Unwrap() error { return d.error }

// maxLost is how many tokens that nobody ever saw a record names: a GitHub that
// does not answer for an hour would fill it until no store takes it.
const maxLost = 100

// prune leaves out what is dead for long, and the oldest of what was lost unseen,
// which ends before the others. With keepsApp it leaves each owner's latest token, which
// says by which App it was minted. It moves the tokens of the record.
func (r *Record) prune(now time.Time, keepsApp bool) {
	unseen := 0
	for _, t := range r.Tokens {
		if t.isUnseen() {
			unseen++
		}
	}
	kept := r.Tokens[:0]
	for at, t := range r.Tokens {
		isOver := t.State == Revoked && now.Sub(t.Changed) > tokenLife && !(keepsApp && r.isLatest(at))
		if t.isUnseen() {
			unseen--
			isOver = isOver || unseen >= maxLost
		}
		if !isOver {
			kept = append(kept, t)
		}
	}
	clear(r.Tokens[len(kept):])
	r.Tokens = kept
}

// isUnseen reports whether the token was lost before anybody knew more of it than
// that it may be.
func (t Token) isUnseen() bool { return t.Lost && t.Hash == "" }

// change writes a token's next state.
func (i *Issuer) change(ctx context.Context, r *Record, t *Token, state State, note string) error {
	t.turn(state, i.now(), note)
	return i.save(ctx, r)
}

// turn sets a token's state. What it opened is of no interest once it is dead.
func (t *Token) turn(state State, now time.Time, note string) {
	t.State, t.Changed, t.Note = state, now, note
	if state == Revoked {
		t.All, t.Repositories, t.Permissions = false, nil, nil
	}
}

// Create gives the workspace what the profile says, or finishes what an earlier
// run began. The record is written first, so that a workspace whose tokens
// cannot be had now heals by a later run; then it returns the record and the
// error. A margin of 0 is the issuer's own.
func (i *Issuer) Create(ctx context.Context, id string, p *Profile, margin time.Duration) (r *Record, err error) {
	err = i.locked(ctx, id, func(ctx context.Context) error {
		if r, err = i.prepare(ctx, id, p, margin); err != nil {
			return err
		}
		return i.conclude(ctx, r, i.reconcile(ctx, r, time.Time{}))
	})
	return r, err
}

// prepare writes what the workspace may have.
func (i *Issuer) prepare(ctx context.Context, id string, p *Profile, margin time.Duration) (*Record, error) {
	r, err := i.Load(ctx, id)
	isNew := errors.Is(err, store.ErrNotFound)
	switch {
	case isNew:
		r = &Record{ID: id, Created: i.now(), isNew: true}
	case err != nil:
		return nil, err
	case r.Destroying:
		return r, usererr.New("create workspace "+id, "it is being destroyed", "finish that first: gatepass workspace destroy "+id)
	}
	r.Profile, r.Access, r.Margin = p.Name, p.Access, margin
	err = i.save(ctx, r)
	if err == nil && isNew {
		i.emit(Event{Type: Created, Workspace: id, Permissions: p.Permissions.Levels()})
	}
	return r, err
}

// Refresh gives the workspace what its record says: what ends soon is replaced,
// what was superseded is revoked after its grace, and what a killed run left is
// finished, a destruction too. With force all its tokens are replaced.
func (i *Issuer) Refresh(ctx context.Context, id string, force bool) (r *Record, err error) {
	err = i.locked(ctx, id, func(ctx context.Context) error {
		if r, err = i.Load(ctx, id); err != nil {
			return err
		}
		if r.Destroying {
			return i.end(ctx, r)
		}
		since := time.Time{}
		if force {
			since = i.now()
		}
		return i.conclude(ctx, r, i.reconcile(ctx, r, since))
	})
	return r, err
}

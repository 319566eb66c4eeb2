package broker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// Bars is the list of workspaces and accounts that are blocked. It is in the store,
// so that every replica knows it, through a restart too. What other replicas wrote is
// looked for every Every while somebody asks; what this one wrote holds at once.
//
// A look reads one entry, the log of the list ([store.BarLog]). What the log says was
// blocked holds at once. The whole list is read when it changed, to find what was
// unblocked, and now and then; where there is no log yet, every look reads it.
//
// An answer holds only what a look of the last Stale says. Where there is none, a
// caller waits for one for a moment, and then everybody is blocked.
type Bars struct {
	Store store.Store
	Every time.Duration    // 0 means about a second
	Stale time.Duration    // 0 means a second
	Now   func() time.Time // nil means time.Now
	// Took is told of entries that were not there before, so that what is kept in
	// memory of them is dropped before the next answer; nil means that it is not. It
	// must not call Bars.
	Took func(store.Bars)
	// Told is told when readings begin to fail, with the reason, and with nil when one
	// succeeds again; nil means that it is not.
	Told func(error)

	telling announcer // of what this replica changes

	mu      sync.Mutex // guards the rest; never held while the store is read
	have    store.Bars
	known   bool          // have was read
	version string        // of the log that have is of; "" where there was none
	without time.Time     // when there was no log
	latest  int           // the number of the reading that have is of
	read    time.Time     // when it began
	took    time.Duration // how long the latest look took
	begun   int           // readings so far
	tried   time.Time     // when the latest reading began
	under   []*reading    // those under way
	lister  *reading      // the one of them that reads the list
	listed  listing
	ended   chan struct{} // closed when one of them gets on; nil before the first
	failed  int           // readings since the last that succeeded
	err     error         // why they failed
	total   uint64        // readings that failed
}

const (
	barsStale = time.Second
	// Between two looks: at most barsEvery, so that the next ends within barsStale, and
	// at least barsSoonest. barsSpare is for a look that takes longer than the last.
	barsEvery    = 900 * time.Millisecond
	barsSoonest  = 500 * time.Millisecond
	barsSpare    = 100 * time.Millisecond
	barsWait     = 3 * time.Second        // for the store
	barsPatience = 500 * time.Millisecond // of the caller that begins a look, where what is known is good
)

func (b *Bars) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// BarredFor implements [Bar].
func (b *Bars) BarredFor(ctx context.Context, workspace, owner string) (bool, error) {
	have, err := b.current(ctx)
	if err != nil {
		return true, err
	}
	return have.Has(workspace, owner), nil
}

// Barred implements [Bar].
func (b *Bars) Barred(ctx context.Context, workspace string) (bool, error) {
	return b.BarredFor(ctx, workspace, "")
}

// All returns every bar, as far as this replica knows.
func (b *Bars) All(ctx context.Context) (store.Bars, error) {
	have, err := b.current(ctx)
	return have.Clone(), err
}

func or(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// lost reports whether the store that had bars is not there at all: of one whose
// volume is gone, nothing is left but an empty folder.
func (b *Bars) lost(ctx context.Context) error {
	_, err := b.Store.Get(ctx, store.AppClientID())
	return err
}

// take makes bars those that hold. The caller holds mu.
func (b *Bars) take(found store.Bars) {
	added := found.Without(b.have)
	b.have = found
	if b.Took != nil && !added.IsEmpty() {
		b.Took(added)
	}
}

// A Target is what an operator takes everything from: exactly one of a
// workspace, an account, and all that the App can reach.
type Target struct {
	Workspace string `json:"workspace,omitempty"`
	Owner     string `json:"owner,omitempty"`
	App       bool   `json:"app,omitempty"`
}

// Check returns an error unless exactly one is said, and may be.
func (t Target) Check() error {
	said := 0
	for _, is := range []bool{t.Workspace != "", t.Owner != "", t.App} {
		if is {
			said++
		}
	}
	if said != 1 {
		return errors.New(`say exactly one of "workspace", "owner" and "app": true`)
	}
	_, err := t.Name()
	return err
}

// String is the target for people.
func (t Target) String() string {
	switch {
	case t.App:
		return "everything of the App"
	case t.Owner != "":
		return "owner " + t.Owner
	}
	return "workspace " + t.Workspace
}

// Name is that of the entry of the block list which blocks the target.
func (t Target) Name() (store.Name, error) {
	switch {
	case t.App:
		return store.BarredApp(), nil
	case t.Owner != "":
		return store.BarredOwner(t.Owner)
	}
	return store.Barred(t.Workspace)
}

// Bar gives a workspace nothing from now on. It is in the store when Bar returns.
func (b *Bars) Bar(ctx context.Context, workspace string) error {
	return b.Take(ctx, Target{Workspace: workspace})
}

// Admit takes the bar of a workspace away.
func (b *Bars) Admit(ctx context.Context, workspace string) error {
	return b.Lift(ctx, Target{Workspace: workspace})
}

// Take is Bar, for any target. After an error other replicas may learn of the bar within
// listEvery only, or not at all: the caller calls it again.
func (b *Bars) Take(ctx context.Context, t Target) error {
	name, err := t.Name()
	if err == nil {
		err = b.put(ctx, name, time.Time{}, func() { b.change(t, true) })
	}
	return err
}

// put writes an entry. It holds here as soon as it is in the store, and is announced to
// the others then.
func (b *Bars) put(ctx context.Context, name store.Name, due time.Time, hold func()) error {
	text := store.NewSecret(b.now().UTC().Format(time.RFC3339))
	if err := store.PutBar(ctx, b.Store, name, text, due); err != nil {
		return err
	}
	hold()
	return b.telling.tell(ctx, b.Store, name)
}

// BarToken keeps every replica from giving a token that is about to be revoked. name is
// that of the token's entry in the store. Where it does not say when the token ends, a
// replica of the version before made it, and may have the token in memory: it does not
// know of marks that say it.
func (b *Bars) BarToken(ctx context.Context, t credential.Token, name store.Name) error {
	ends, _ := name.Ends()
	return b.put(ctx, store.BarredToken(t.ID(), ends), t.Expiry.Add(store.TokenGrace), func() {
		b.set(func(have *store.Bars) { have.Tokens[t.ID().String()] = true })
	})
}

// Lift is Admit, for any target. After an error the bar may be gone from the store.
func (b *Bars) Lift(ctx context.Context, t Target) error {
	name, err := t.Name()
	if err == nil {
		err = b.Store.Delete(ctx, name)
	}
	if err == nil {
		err = b.telling.tell(ctx, b.Store)
	}
	if err == nil {
		b.change(t, false)
	}
	return err
}

func (b *Bars) change(t Target, isBarred bool) {
	b.set(func(have *store.Bars) {
		switch {
		case t.App:
			have.App = isBarred
		case t.Owner != "":
			mark(have.Owners, strings.ToLower(t.Owner), isBarred)
		default:
			mark(have.Workspaces, t.Workspace, isBarred)
		}
	})
}

func mark(set map[string]bool, key string, isIn bool) {
	if isIn {
		set[key] = true
		return
	}
	delete(set, key)
}

// set changes what holds, on a copy: others may be reading it.
func (b *Bars) set(change func(*store.Bars)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.have.Clone()
	change(&next)
	for _, r := range b.under {
		r.mine = append(r.mine, change)
	}
	b.without = time.Time{} // there is a log by now
	b.take(next)
}

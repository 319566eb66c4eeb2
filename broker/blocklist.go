package broker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// Blocks is the list of workspaces and accounts that are blocked. It is in the store,
// so that every replica knows it, through a restart too. What other replicas wrote is
// looked for every Every while somebody asks; what this one wrote holds at once.
//
// A look reads one entry, the log of the list ([store.BlockLog]). What the log says was
// blocked holds at once. The whole list is read when it changed, to find what was
// unblocked, and now and then; where there is no log yet, every look reads it.
//
// An answer holds only what a look of the last Stale says. Where there is none, a
// caller waits for one for a moment, and then everybody is blocked.
type Blocklist struct {
	Store store.Store
	Every time.Duration    // 0 means about a second
	Stale time.Duration    // 0 means a second
	Now   func() time.Time // nil means time.Now
	// Took is told of entries that were not there before, so that what is kept in
	// memory of them is dropped before the next answer; nil means that it is not. It
	// must not call Blocks.
	OnAdded func(store.Blocks)
	// Told is told when readings begin to fail, with the reason, and with nil when one
	// succeeds again; nil means that it is not.
	Told func(error)

	telling announcer    // of what this replica changes
	asked   atomic.Int64 // when a workspace was asked about last, in Unix nanoseconds

	mu      sync.Mutex // guards the rest; never held while the store is read
	have    store.Blocks
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
	blocksStale = time.Second
	// Between two looks: at most blocksEvery, so that the next ends within blocksStale, and
	// at least blocksSoonest. blocksSpare is for a look that takes longer than the last.
	blocksEvery    = 900 * time.Millisecond
	blocksSoonest  = 500 * time.Millisecond
	blocksSpare    = 100 * time.Millisecond
	blocksWait     = 3 * time.Second        // for the store
	blocksPatience = 500 * time.Millisecond // of the caller that begins a look, where what is known is good
)

func (b *Blocklist) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// BlockedFor implements [Blocker].
func (b *Blocklist) BlockedFor(ctx context.Context, workspace, owner string) (bool, error) {
	b.asked.Store(b.now().UnixNano())
	have, err := b.current(ctx)
	if err != nil {
		return true, err
	}
	return have.Has(workspace, owner), nil
}

// Blocked implements [Blocker].
func (b *Blocklist) Blocked(ctx context.Context, workspace string) (bool, error) {
	return b.BlockedFor(ctx, workspace, "")
}

// LastAsked is when a workspace last asked for something at this replica; 1970 before the
// first.
func (b *Blocklist) LastAsked() time.Time { return time.Unix(0, b.asked.Load()) }

// All returns every block, as far as this replica knows.
func (b *Blocklist) All(ctx context.Context) (store.Blocks, error) {
	have, err := b.current(ctx)
	return have.Clone(), err
}

func or(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// lost reports whether the store that had blocks is not there at all: of one whose
// volume is gone, nothing is left but an empty folder.
func (b *Blocklist) lost(ctx context.Context) error {
	_, err := b.Store.Get(ctx, store.AppClientID())
	return err
}

// take makes blocks those that hold. The caller holds mu.
func (b *Blocklist) take(found store.Blocks) {
	added := found.Without(b.have)
	b.have = found
	if b.OnAdded != nil && !added.IsEmpty() {
		b.OnAdded(added)
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
		return store.BlockedApp(), nil
	case t.Owner != "":
		return store.BlockedOwner(t.Owner)
	}
	return store.Blocked(t.Workspace)
}

// Block gives a workspace nothing from now on. It is in the store when Block returns.
func (b *Blocklist) Block(ctx context.Context, workspace string) error {
	return b.Add(ctx, Target{Workspace: workspace})
}

// Admit takes the block of a workspace away.
func (b *Blocklist) Unblock(ctx context.Context, workspace string) error {
	return b.Remove(ctx, Target{Workspace: workspace})
}

// Take is Block, for any target. After an error other replicas may learn of the block within
// listEvery only, or not at all: the caller calls it again.
func (b *Blocklist) Add(ctx context.Context, t Target) error {
	name, err := t.Name()
	if err == nil {
		err = b.put(store.Urgently(ctx), name, time.Time{}, func() { b.change(t, true) })
	}
	return err
}

// put writes an entry. It holds here as soon as it is in the store, and is announced to
// the others then.
func (b *Blocklist) put(ctx context.Context, name store.Name, due time.Time, hold func()) error {
	text := store.NewSecret(b.now().UTC().Format(time.RFC3339))
	if err := store.PutBlock(ctx, b.Store, name, text, due); err != nil {
		return err
	}
	hold()
	return b.telling.tell(ctx, b.Store, name)
}

// BlockToken keeps every replica from giving a token that is about to be revoked. name is
// that of the token's entry in the store. Where it does not say when the token ends, a
// replica of the version before made it, and may have the token in memory: it does not
// know of marks that say it.
func (b *Blocklist) BlockToken(ctx context.Context, t credential.Token, name store.Name) error {
	ends, _ := name.Ends()
	return b.put(ctx, store.BlockedToken(t.ID(), ends), t.Expiry.Add(store.TokenGrace), func() {
		b.set(func(have *store.Blocks) { have.Tokens[t.ID().String()] = true })
	})
}

// Lift is Admit, for any target. After an error the block may be gone from the store.
func (b *Blocklist) Remove(ctx context.Context, t Target) error {
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

func (b *Blocklist) change(t Target, isBlocked bool) {
	b.set(func(have *store.Blocks) {
		switch {
		case t.App:
			have.App = isBlocked
		case t.Owner != "":
			mark(have.Owners, strings.ToLower(t.Owner), isBlocked)
		default:
			mark(have.Workspaces, t.Workspace, isBlocked)
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
func (b *Blocklist) set(change func(*store.Blocks)) {
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

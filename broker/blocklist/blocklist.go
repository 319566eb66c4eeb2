// Package blocklist has the list of blocked workspaces, accounts and tokens, which all
// replicas of a broker share through the store.
package blocklist

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

// A List is the list of blocked workspaces, accounts and tokens. It is in the store,
// so all replicas share it and it survives restarts. A block by this replica holds at
// once. For blocks by others, the store is read every Every while requests come.
//
// A look reads one entry, the list's log ([store.BlockLog]), and applies the blocks in
// it at once. It reads the whole list after a change, to find what was unblocked, and
// occasionally without one. While there is no log yet, every look reads the whole list.
//
// Answers rely only on a look of the last Stale. If there is none, a caller waits for
// one for a moment; if none comes, every request is refused.
type List struct {
	Store store.Store
	Every time.Duration    // 0 means about a second
	Stale time.Duration    // 0 means a second
	Now   func() time.Time // nil means time.Now
	// OnAdded is called with new entries before the next answer, so that the caller can
	// drop what it cached for them; nil disables it. It must not call methods of
	// List.
	OnAdded func(store.Blocks)
	// OnError is called with the error when readings begin to fail, and with nil when they
	// succeed again; nil disables it.
	OnError func(error)

	announcer   announcer    // announces this replica's changes
	lastRequest atomic.Int64 // when a workspace last made a request, in Unix nanoseconds

	mu      sync.Mutex // guards the rest; never held during a store call
	have    store.Blocks
	known   bool          // have was read at least once
	version string        // version of the log that have corresponds to; "" if there was no log
	without time.Time     // when the log was last found missing
	latest  int           // the number of the reading that have is from
	read    time.Time     // when that reading began
	took    time.Duration // how long the latest look took
	started int           // number of readings begun
	tried   time.Time     // when the latest reading began
	under   []*reading    // readings in progress
	lister  *reading      // the one of them that reads the whole list
	listed  listing
	// announced are blocks that the log announced less than writeTime ago, with the time
	// of the look. They count even if a reading of the list did not find them yet.
	announced map[store.Name]time.Time
	ended     chan struct{} // closed and replaced whenever a reading makes progress; nil before the first
	failed    int           // failures since the last success
	err       error         // the error of the latest reading
	total     uint64        // all readings that failed
}

const (
	blocksStale = time.Second
	blocksEvery = 500 * time.Millisecond // the time between two looks
	// listsEvery is the most time between two looks in a store without a log, where each
	// look reads the list. It is shorter if the store is slow, so that the next look ends
	// within blocksStale; listsReserve is the reserve for a look that is slower than the last.
	listsEvery       = 900 * time.Millisecond
	listsReserve     = 100 * time.Millisecond
	blocksWait       = 3 * time.Second        // the timeout of the store
	blocksCallerWait = 500 * time.Millisecond // how long the caller that begins a look waits for it while the known list is fresh
)

func (b *List) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// BlockedFor reports whether a workspace, or the account for all workspaces, is blocked.
// If the list cannot be read, it returns true and the error.
func (b *List) BlockedFor(ctx context.Context, workspace, owner string) (bool, error) {
	b.lastRequest.Store(b.now().UnixNano())
	have, err := b.current(ctx)
	if err != nil {
		return true, err
	}
	return have.Has(workspace, owner), nil
}

// Blocked reports whether a workspace is blocked for all accounts; see BlockedFor.
func (b *List) Blocked(ctx context.Context, workspace string) (bool, error) {
	return b.BlockedFor(ctx, workspace, "")
}

// LastRequest returns when a workspace last made a request to this replica; 1970 before
// the first.
func (b *List) LastRequest() time.Time { return time.Unix(0, b.lastRequest.Load()) }

// All returns every block that this replica knows.
func (b *List) All(ctx context.Context) (store.Blocks, error) {
	have, err := b.current(ctx)
	return have.Clone(), err
}

func or(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// checkVanished returns an error if the store itself has vanished. A lost volume, for example,
// looks like a store without blocks.
func (b *List) checkVanished(ctx context.Context) error {
	_, err := b.Store.Get(ctx, store.AppClientID())
	return err
}

// apply replaces the current blocks by found, and reports new ones to OnAdded. The
// caller holds mu.
func (b *List) apply(found store.Blocks) {
	added := found.Without(b.have)
	b.have = found
	if b.OnAdded != nil && !added.IsEmpty() {
		b.OnAdded(added)
	}
}

// A Target is what an operator revokes and blocks: exactly one of a workspace, an
// account, and everything that the App can reach.
type Target struct {
	Workspace string `json:"workspace,omitempty"`
	Owner     string `json:"owner,omitempty"`
	App       bool   `json:"app,omitempty"`
}

// Check returns an error unless exactly one field is set, to a valid name.
func (t Target) Check() error {
	said := 0
	for _, is := range []bool{t.Workspace != "", t.Owner != "", t.App} {
		if is {
			said++
		}
	}
	if said != 1 {
		return errors.New(`the request must have exactly one of "workspace", "owner" and "app": true`)
	}
	_, err := t.Name()
	return err
}

// String returns the target as text for people.
func (t Target) String() string {
	switch {
	case t.App:
		return "everything of the App"
	case t.Owner != "":
		return "owner " + t.Owner
	}
	return "workspace " + t.Workspace
}

// Name returns the name of the block list entry that blocks the target.
func (t Target) Name() (store.Name, error) {
	switch {
	case t.App:
		return store.BlockedApp(), nil
	case t.Owner != "":
		return store.BlockedOwner(t.Owner)
	}
	return store.Blocked(t.Workspace)
}

// Block blocks a workspace from now on. When Block returns without an error, the block
// is in the store.
func (b *List) Block(ctx context.Context, workspace string) error {
	return b.Add(ctx, Target{Workspace: workspace})
}

// Unblock removes the block of a workspace.
func (b *List) Unblock(ctx context.Context, workspace string) error {
	return b.Remove(ctx, Target{Workspace: workspace})
}

// Add blocks a target. After an error, other replicas may learn of the block only
// within listEvery, or never: the caller must retry.
func (b *List) Add(ctx context.Context, t Target) error {
	name, err := t.Name()
	if err == nil {
		err = b.put(store.Urgently(ctx), name, time.Time{}, func() { b.change(t, true) })
	}
	return err
}

// put announces an entry to the other replicas and writes it. hold makes it take effect
// here.
func (b *List) put(ctx context.Context, name store.Name, due time.Time, hold func()) error {
	announceErr := b.announcer.announce(ctx, b.Store, store.BlockStep{Set: []string{name.String()}})
	if announceErr == nil {
		hold()
	}
	text := store.NewSecret(b.now().UTC().Format(time.RFC3339))
	if err := store.PutBlock(ctx, b.Store, name, text, due); err != nil {
		return err
	}
	hold()
	return announceErr
}

// BlockToken stops every replica from answering with a token that is about to be
// revoked. name is the name of the token's entry in the store. If that name has no
// expiry, an older version of the broker wrote it; such a replica may have the token in
// memory, and does not understand marks with an expiry, so the mark is written without
// one.
func (b *List) BlockToken(ctx context.Context, t credential.Token, name store.Name) error {
	ends, _ := name.Ends()
	return b.put(ctx, store.BlockedToken(t.ID(), ends), t.Expiry.Add(store.TokenGrace), func() {
		b.set(func(have *store.Blocks) { have.Tokens[t.ID().String()] = true })
	})
}

// Remove unblocks a target. After an error, the block may already be gone from the
// store.
func (b *List) Remove(ctx context.Context, t Target) error {
	name, err := t.Name()
	if err == nil {
		err = b.Store.Delete(ctx, name)
	}
	if err == nil {
		err = b.announcer.announce(ctx, b.Store, store.BlockStep{Deleted: []string{name.String()}})
	}
	if err == nil {
		b.change(t, false)
	}
	return err
}

func (b *List) change(t Target, isBlocked bool) {
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

// set changes a copy of the current blocks and takes that, because other goroutines may
// be reading the old one.
func (b *List) set(change func(*store.Blocks)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.have.Clone()
	change(&next)
	for _, r := range b.under {
		r.mine = append(r.mine, change)
	}
	b.without = time.Time{} // the change wrote a log
	b.apply(next)
}

// Marked reports whether any replica has marked a token as revoked. It returns an error
// if the block list cannot be read.
func (b *List) Marked(ctx context.Context, t credential.Token) (bool, error) {
	have, err := b.current(ctx)
	if err != nil {
		return true, err
	}
	return have.Tokens[t.ID().String()], nil
}

// announceTime is the timeout of one announcement; a throttled store may be slow.
const announceTime = 20 * time.Second

// An announcer announces changes of the block list. Changes made during one
// announcement go together into the next: a sweep that marks hundreds of tokens needs
// only a few announcements.
type announcer struct {
	mu   sync.Mutex // guards the rest
	next *announcement
	busy bool
}

type announcement struct {
	step store.BlockStep
	done chan struct{} // closed once err is set
	err  error
}

// announce announces entries that will be written or were deleted, and returns after the
// announcement.
func (a *announcer) announce(ctx context.Context, s store.Store, step store.BlockStep) error {
	a.mu.Lock()
	if a.next == nil {
		a.next = &announcement{done: make(chan struct{})}
	}
	mine := a.next
	mine.step.Set = append(mine.step.Set, step.Set...)
	mine.step.Deleted = append(mine.step.Deleted, step.Deleted...)
	if !a.busy {
		a.busy = true
		go a.run(context.WithoutCancel(ctx), s)
	}
	a.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes announcements until there are no more.
func (a *announcer) run(ctx context.Context, s store.Store) {
	for {
		a.mu.Lock()
		now := a.next
		a.next, a.busy = nil, now != nil
		a.mu.Unlock()
		if now == nil {
			return
		}
		now.err = announce(ctx, s, now.step)
		close(now.done)
	}
}

// announce goes before other writes, because it may contain a block.
func announce(ctx context.Context, s store.Store, step store.BlockStep) error {
	ctx, cancel := context.WithTimeout(store.Urgently(ctx), announceTime)
	defer cancel()
	return store.Announce(ctx, s, step)
}

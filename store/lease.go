package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

// Upkeep names the lease of the one broker replica that maintains the store.
func Upkeep() Name { return Name{brokerFolder + "/upkeep"} }

// A Lease says which of several programs does a job, and keeps a note of its progress. It
// saves work and is not a lock: if clocks differ, two programs may hold it for a moment.
// Set its fields before the first call. Only one goroutine may use it at a time.
type Lease struct {
	Store    Store
	Name     Name
	Holder   string           // a text that is unique to this program, such as rand.Text returns
	Duration time.Duration    // time after which others take the lease from a program that died
	Now      func() time.Time // nil means time.Now

	isMine  bool
	until   time.Time // when it ends, if this program holds it
	note    string
	version string // version of the entry
	seen    string // its text when it was last read
}

// leased is the content of the entry.
type leased struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
	Note   string    `json:"note,omitempty"`
}

const (
	// If the store is not a Swapper, a program that finds an expired lease overwrites it
	// within acquireTime of reading it, and reads it again after leaseSettle: the program that
	// wrote last holds it.
	acquireTime = 2 * time.Second
	leaseSettle = 3 * time.Second
)

// IsHeld reports whether this program holds the lease. It does not call the store.
func (l *Lease) IsHeld() bool { return l.isMine && l.Left() > 0 }

// Left returns how long this program still holds the lease, as of the last call of Hold.
func (l *Lease) Left() time.Duration { return clock.Left(l.until, l.now()) }

// Note returns the note of the previous holder, once this program has taken the lease.
func (l *Lease) Note() string { return l.note }

// Hold extends the lease and writes the note if this program holds the lease. If no program
// holds it, Hold takes it and leaves the note as it is. It reports whether this program
// holds the lease. After an error the program holds it for as long as before.
func (l *Lease) Hold(ctx context.Context, note string) (bool, error) {
	if !l.IsHeld() {
		return l.acquire(ctx)
	}
	err := l.write(ctx, l.Duration, note, Replace)
	if errors.Is(err, ErrChanged) {
		l.isMine = false
		return l.acquire(ctx)
	}
	return l.IsHeld(), err
}

// Release ends the lease, so that the next program takes it at once. It does nothing if
// another program holds it.
func (l *Lease) Release(ctx context.Context, note string) error {
	if !l.IsHeld() {
		return nil
	}
	err := l.write(ctx, 0, note, Replace)
	l.isMine = false
	return err
}

func (l *Lease) acquire(ctx context.Context) (bool, error) {
	l.isMine = false
	entry, err := l.Store.Get(ctx, l.Name)
	if errors.Is(err, ErrDamaged) {
		err = errors.Join(l.Store.Delete(ctx, l.Name), ErrNotFound)
	}
	if errors.Is(err, ErrNotFound) {
		l.note, l.version = "", ""
		return l.isAcquired(ctx, l.write(ctx, l.Duration, "", CreateOnly), false)
	}
	if err != nil {
		return false, err
	}
	now := l.read(entry)
	if now.Holder != l.Holder && l.Left() > 0 {
		return false, nil
	}
	soon, cancel := context.WithTimeout(ctx, acquireTime)
	defer cancel()
	return l.isAcquired(ctx, l.write(soon, l.Duration, now.Note, Replace), now.Holder != l.Holder)
}

// read adopts the content of an entry. If another program's lease ends later than ours
// would, that program's clock is wrong: the lease then ends when ours would.
func (l *Lease) read(entry Entry) leased {
	var now leased
	if json.Unmarshal([]byte(entry.Value.Reveal()), &now) != nil {
		now = leased{} // a lease without a holder
	}
	l.note, l.version = now.Note, entry.Version
	if text := entry.Value.Reveal(); text != l.seen {
		at := l.now()
		l.until, l.seen = at.Add(min(max(now.Until.Sub(at), 0), l.Duration)), text
	}
	return now
}

// isAcquired reports whether a write took the lease.
func (l *Lease) isAcquired(ctx context.Context, err error, isOver bool) (bool, error) {
	if errors.Is(err, ErrChanged) || errors.Is(err, ErrExists) {
		l.until = time.Time{} // another program has it; Hold finds out until when
		return false, nil
	}
	if _, compares := l.Store.(Swapper); err != nil || compares || !isOver {
		l.isMine = err == nil
		return l.isMine, err
	}
	select {
	case <-time.After(leaseSettle):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	entry, err := l.Store.Get(ctx, l.Name)
	if err == nil {
		l.isMine = l.read(entry).Holder == l.Holder
	}
	return l.isMine, err
}

// write writes the entry, if it has not changed since it was read.
func (l *Lease) write(ctx context.Context, lasts time.Duration, note string, mode Mode) error {
	until := l.now().Add(lasts)
	text, err := json.Marshal(leased{l.Holder, until.UTC(), note})
	if err != nil {
		return err
	}
	if swapper, ok := l.Store.(Swapper); ok {
		var version string
		if version, err = swapper.Swap(ctx, l.Name, NewSecret(string(text)), l.version, time.Time{}); err == nil {
			l.version = version
		}
	} else {
		err = l.Store.Put(ctx, l.Name, NewSecret(string(text)), mode)
	}
	if err == nil {
		l.until = until
	}
	return err
}

func (l *Lease) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// ClaimGrace is how long a claim stays in the store after it ends. The clocks of replicas
// may differ by that.
const ClaimGrace = 5 * time.Minute

// Claim creates an entry, and reports whether this call created it: among all callers at
// all replicas, one wins. After an error the entry may be this call's; then no caller wins.
// The claim ends at until. A store that is Indexed is told when the entry may be deleted:
// ClaimGrace after until, a delivery after DeliveryLife, and an entry whose name says when
// its token expires with that token.
func Claim(ctx context.Context, s Store, n Name, until time.Time) (won bool, err error) {
	mark := until.UTC().Format(time.RFC3339Nano) + " " + rand.Text()
	err = PutDue(ctx, s, n, NewSecret(mark), CreateOnly, claimDue(n, until))
	if err == nil {
		return true, nil
	}
	if errors.Is(err, ErrExists) {
		return false, nil
	}
	// The entry may have been written. Its value says by which call.
	entry, readErr := s.Get(ctx, n)
	if readErr != nil {
		return false, errors.Join(err, readErr)
	}
	return entry.Value.Reveal() == mark, nil
}

// DeliveryLife is how long a store keeps the entry of a handled webhook delivery. GitHub can
// send a delivery again for three days.
const DeliveryLife = 7 * 24 * time.Hour

// claimDue returns when the entry of a claim may be deleted. The entry of a delivery outlives
// its claim, for the broker that gets the delivery again.
func claimDue(n Name, until time.Time) time.Time {
	if ends, ok := n.Ends(); ok {
		return ends.Add(TokenGrace)
	}
	if Deliveries().Has(n) {
		return until.Add(DeliveryLife)
	}
	return until.Add(ClaimGrace)
}

// ClaimedUntil returns when the claim of an entry that Claim made ends.
func ClaimedUntil(e Entry) (time.Time, error) {
	text, _, _ := strings.Cut(e.Value.Reveal(), " ")
	return time.Parse(time.RFC3339Nano, text)
}

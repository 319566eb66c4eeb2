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

// Upkeep is where it stands which broker does what one of all replicas does for the store.
func Upkeep() Name { return Name{brokerFolder + "/upkeep"} }

// A Lease says which of several programs does a job, and has a note of how far it got. It
// saves work, and is no lock: where clocks differ, two may have it for a moment. Its
// fields are set before the first call. A Lease is for one goroutine at a time.
type Lease struct {
	Store    Store
	Name     Name
	Holder   string           // a text of this program's own, as rand.Text returns
	Duration time.Duration    // until others take it from a program that died
	Now      func() time.Time // nil means time.Now

	isMine  bool
	until   time.Time // when it ends, for the program that has it
	note    string
	version string // of the entry
	seen    string // what it said when it was read last
}

// leased is what is in the entry.
type leased struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
	Note   string    `json:"note,omitempty"`
}

const (
	// A program that finds a lease that has run out, in a store that is no Swapper, writes
	// its own over it within leaseTake of looking, and looks again after leaseSettle: the
	// last that wrote has it.
	leaseTake   = 2 * time.Second
	leaseSettle = 3 * time.Second
)

// IsHeld reports, without a call of the store, whether this program has the lease.
func (l *Lease) IsHeld() bool { return l.isMine && l.Left() > 0 }

// Left is how long the lease lasts, for the program that has it, as of the last call of Hold.
func (l *Lease) Left() time.Duration { return clock.Left(l.until, l.now()) }

// Note is the one that the holder before left, once this program took the lease.
func (l *Lease) Note() string { return l.note }

// Hold extends the lease where this program has it, and writes the note; it takes it where
// no program has it, and keeps the note there. It reports whether this program has it. After an
// error it has the lease for as long as before.
func (l *Lease) Hold(ctx context.Context, note string) (bool, error) {
	if !l.IsHeld() {
		return l.take(ctx)
	}
	err := l.write(ctx, l.Duration, note, Replace)
	if errors.Is(err, ErrChanged) {
		l.isMine = false
		return l.take(ctx)
	}
	return l.IsHeld(), err
}

// Release ends the lease, so that the next program takes it at once. It does nothing where
// another has it.
func (l *Lease) Release(ctx context.Context, note string) error {
	if !l.IsHeld() {
		return nil
	}
	err := l.write(ctx, 0, note, Replace)
	l.isMine = false
	return err
}

func (l *Lease) take(ctx context.Context) (bool, error) {
	l.isMine = false
	entry, err := l.Store.Get(ctx, l.Name)
	if errors.Is(err, ErrDamaged) {
		err = errors.Join(l.Store.Delete(ctx, l.Name), ErrNotFound)
	}
	if errors.Is(err, ErrNotFound) {
		l.note, l.version = "", ""
		return l.taken(ctx, l.write(ctx, l.Duration, "", CreateOnly), false)
	}
	if err != nil {
		return false, err
	}
	now := l.read(entry)
	if now.Holder != l.Holder && l.Left() > 0 {
		return false, nil
	}
	soon, cancel := context.WithTimeout(ctx, leaseTake)
	defer cancel()
	return l.taken(ctx, l.write(soon, l.Duration, now.Note, Replace), now.Holder != l.Holder)
}

// read makes what an entry says known. A lease of another program that ends later than ours
// would is of a clock that is wrong: it ends when ours would.
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

// taken reports whether a write took the lease.
func (l *Lease) taken(ctx context.Context, err error, isOver bool) (bool, error) {
	if errors.Is(err, ErrChanged) || errors.Is(err, ErrExists) {
		l.until = time.Time{} // another has it; Hold asks until when
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

// ClaimGrace is how long after its end a claim stays in the store: what the clocks of
// replicas may differ by.
const ClaimGrace = 5 * time.Minute

// Claim creates an entry, and reports whether it was this call that did: of all
// who claim a name, at any replica, one wins. An error leaves open whether the
// entry is this call's; then nobody wins any more. From until on, the entry is of
// no use, and a store that is Indexed is told when it is due to be deleted: ClaimGrace later,
// of a delivery after DeliveryLife, and with the token whose end the name says.
func Claim(ctx context.Context, s Store, n Name, until time.Time) (won bool, err error) {
	mark := until.UTC().Format(time.RFC3339Nano) + " " + rand.Text()
	err = PutDue(ctx, s, n, NewSecret(mark), CreateOnly, claimDue(n, until))
	if err == nil {
		return true, nil
	}
	if errors.Is(err, ErrExists) {
		return false, nil
	}
	// Whether it was written is open. The mark says whose it is.
	entry, readErr := s.Get(ctx, n)
	if readErr != nil {
		return false, errors.Join(err, readErr)
	}
	return entry.Value.Reveal() == mark, nil
}

// DeliveryLife is how long it is remembered that a webhook delivery was handled: GitHub can
// send it again for three days.
const DeliveryLife = 7 * 24 * time.Hour

// claimDue is when the entry of a claim may be deleted. One of a delivery outlives the
// claim: who handles the delivery next has to find it.
func claimDue(n Name, until time.Time) time.Time {
	if ends, ok := n.Ends(); ok {
		return ends.Add(TokenGrace)
	}
	if Deliveries().Has(n) {
		return until.Add(DeliveryLife)
	}
	return until.Add(ClaimGrace)
}

// ClaimedUntil reads from when on an entry that Claim made is of no use.
func ClaimedUntil(e Entry) (time.Time, error) {
	text, _, _ := strings.Cut(e.Value.Reveal(), " ")
	return time.Parse(time.RFC3339Nano, text)
}

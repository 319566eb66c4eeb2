package broker

import (
	"container/list"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// The parts of GitHub's hourly limit below which requests are counted.
const (
	scarcePart  = 5         // under a fifth, workspaces share what is left
	reservePart = 20        // under a twentieth, only what has no token at all is minted
	activeFor   = time.Hour // how long a workspace counts after its last mint: as long as a token lives
)

// A Budget shares what GitHub leaves of its rate limit. While there is enough
// everybody mints. When less than a fifth is left, each workspace may cause at
// most its share of that until GitHub's window ends, and when less than a
// twentieth is left nobody mints for a scope that still has a token.
type Budget struct {
	Rate func() (mint.Rate, bool) // what GitHub said last; see [mint.App.Rate]
	Now  func() time.Time         // nil means time.Now

	mu     sync.Mutex               // guards the rest
	active map[string]*list.Element // by workspace
	order  list.List                // of asker: the active ones, the one that asked last at the end
	pool   int                      // what was left when it became scarce
	until  time.Time                // end of the window that pool is of; zero while nothing is scarce
	spent  map[string]int
}

func (b *Budget) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// Allow returns a [*Refusal] where a workspace may not cause a mint. hasToken
// says that the scope has a token that still works.
func (b *Budget) Allow(workspace string, hasToken bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.note(workspace, now)
	r, known := b.Rate()
	if !known || !now.Before(r.Reset) || r.Remaining*scarcePart >= r.Limit {
		b.until = time.Time{}
		return nil
	}
	if !b.until.Equal(r.Reset) {
		b.pool, b.until, b.spent = r.Remaining, r.Reset, map[string]int{}
	}
	wait := r.Reset.Sub(now)
	if hasToken && r.Remaining*reservePart < r.Limit {
		return scarce(wait, "GitHub's rate limit is nearly used up; the rest is for who has no token")
	}
	if share := max(1, b.pool/len(b.active)); b.spent[workspace] >= share {
		return scarce(wait, fmt.Sprintf("workspace %s has used up its share of GitHub's rate limit", workspace))
	}
	b.spent[workspace]++
	return nil
}

// An asker is a workspace and when it asked last.
type asker struct {
	workspace string
	last      time.Time
}

// note counts a workspace among the active ones. It looks at the others only as far as
// they are over, so that a call costs the same however many there are. The caller holds
// mu.
func (b *Budget) note(workspace string, now time.Time) {
	if b.active == nil {
		b.active = map[string]*list.Element{}
	}
	if e := b.active[workspace]; e != nil {
		e.Value = asker{workspace, now}
		b.order.MoveToBack(e)
	} else {
		b.active[workspace] = b.order.PushBack(asker{workspace, now})
	}
	for e := b.order.Front(); now.Sub(e.Value.(asker).last) > activeFor; e = b.order.Front() {
		delete(b.active, b.order.Remove(e).(asker).workspace)
	}
}

func scarce(wait time.Duration, detail string) *Refusal {
	return &Refusal{Status: http.StatusTooManyRequests, Reason: ReasonLimit, RetryAfter: max(wait, time.Second), Detail: detail}
}

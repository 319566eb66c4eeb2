package store

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"
)

// ClaimGrace is how long after its end a claim stays in the store: what the clocks of
// replicas may differ by.
const ClaimGrace = 5 * time.Minute

// Claim creates an entry, and reports whether it was this call that did: of all
// who claim a name, at any replica, one wins. An error leaves open whether the
// entry is this call's; then nobody wins any more. From until on, the entry is of
// no use, and a store that is Indexed is told that it is due ClaimGrace later.
func Claim(ctx context.Context, s Store, n Name, until time.Time) (won bool, err error) {
	mark := until.UTC().Format(time.RFC3339Nano) + " " + rand.Text()
	err = PutDue(ctx, s, n, NewSecret(mark), CreateOnly, until.Add(ClaimGrace))
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

// ClaimedUntil reads from when on an entry that Claim made is of no use.
func ClaimedUntil(e Entry) (time.Time, error) {
	text, _, _ := strings.Cut(e.Value.Reveal(), " ")
	return time.Parse(time.RFC3339Nano, text)
}

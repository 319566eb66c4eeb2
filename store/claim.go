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

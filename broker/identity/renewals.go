package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

// A link is a session's place in a chain. A chain is the sessions that came from one
// proof of an identity, each by renewal of the one before. The zero link belongs to a
// session of an older broker; its renewal starts a chain.
type link struct {
	Chain string `json:"f,omitempty"` // the same in the whole chain
	ID    string `json:"i,omitempty"` // the session's own
}

func newLink() link {
	chain := rand.Text()
	return link{Chain: chain, ID: chain}
}

// Renewals detects when two holders renew one session, such as two sandboxes that were
// resumed from one snapshot. For each chain, the store has one entry with the newest
// session. Each session can be renewed once. A holder that renews an older one is
// refused, and from then on so is the holder of the newest, because the broker cannot
// tell which is the copy. Two renewals at the same moment may both succeed; then the
// next renewal of either is refused.
type Renewals struct{ Store store.Store }

const (
	// keylessRetry is how long a client without an attempt key may repeat a renewal whose
	// answer it did not get.
	keylessRetry = 2 * time.Minute
	// copiedFor is how long a chain stays refused. Session keys are valid for two days,
	// so no session lasts longer.
	copiedFor = 2 * day
	copied    = "copied"
)

// Next returns the link of the session that replaces the one at l. attempt is the key
// of the client's attempt: the same attempt gets the same link again. until is when the
// new session can no longer be used or renewed. The error is a [*broker.Refusal].
func (r Renewals) Next(ctx context.Context, l link, attempt string, now, until time.Time) (link, error) {
	if l.Chain == "" {
		return newLink(), nil
	}
	if r.Store == nil {
		return link{}, storeSilent(errors.New("there is no store"))
	}
	next := link{Chain: l.Chain, ID: successor(l.ID, attempt)}
	name := store.Spent(idOf("renewed session", l.Chain))
	entry, err := r.Store.Get(ctx, name)
	isFirst := errors.Is(err, store.ErrNotFound) && l.ID == l.Chain
	switch {
	case isFirst:
	case errors.Is(err, store.ErrNotFound):
		return link{}, unsure("the broker does not know this session any more; prove the identity again")
	case err != nil:
		return link{}, storeSilent(err)
	default:
		seen := parseRenewal(entry.Value.Reveal())
		switch {
		case seen.id == next.ID:
			return next, nil
		case attempt == "" && seen.before == l.ID && now.Sub(seen.at) < keylessRetry:
			return link{Chain: l.Chain, ID: seen.id}, nil
		case seen.id != l.ID:
			return link{}, r.refuseCopied(ctx, name, now)
		}
	}
	mode := store.Replace
	if isFirst {
		mode = store.CreateOnly
	}
	err = store.PutDue(ctx, r.Store, name, renewal{until, next.ID, l.ID, now}.secret(), mode, until)
	if errors.Is(err, store.ErrExists) { // another holder was faster
		return link{}, r.refuseCopied(ctx, name, now)
	}
	if err != nil {
		return link{}, storeSilent(err)
	}
	return next, nil
}

// successor returns the next session's id, which is the same for a repeated attempt.
// Without an attempt key it is always new.
func successor(id, attempt string) string {
	if attempt == "" {
		attempt = rand.Text()
	}
	sum := sha256.Sum256([]byte("renewal\n" + id + "\n" + attempt))
	return hex.EncodeToString(sum[:16])
}

// refuseCopied ends the chain and returns the refusal.
func (r Renewals) refuseCopied(ctx context.Context, name store.Name, now time.Time) error {
	until := now.Add(copiedFor)
	if err := store.PutDue(ctx, r.Store, name, renewal{until, copied, copied, now}.secret(), store.Replace, until); err != nil {
		return storeSilent(err)
	}
	return refused(http.StatusForbidden, broker.ReasonCopied,
		"two sandboxes use one session, as copies of one snapshot do; neither can renew it any more: give each an identity or a join token of its own")
}

func storeSilent(err error) *broker.Refusal { return soon(broker.StoreUnavailable(err)) }

// A renewal is the store's entry for a chain. Its text starts like an entry of
// [store.Claim], so that it is deleted in the same way.
type renewal struct {
	until  time.Time
	id     string // the newest session's
	before string // id of the session that it replaced
	at     time.Time
}

func (r renewal) secret() store.Secret {
	const form = time.RFC3339Nano
	return store.NewSecret(strings.Join([]string{r.until.UTC().Format(form), r.id, r.before, r.at.UTC().Format(form)}, " "))
}

// parseRenewal parses what secret wrote. It reads anything else as an ended chain.
func parseRenewal(text string) renewal {
	parts := strings.Fields(text)
	if len(parts) != 4 {
		return renewal{id: copied}
	}
	at, err := time.Parse(time.RFC3339Nano, parts[3])
	if err != nil {
		return renewal{id: copied}
	}
	return renewal{id: parts[1], before: parts[2], at: at}
}

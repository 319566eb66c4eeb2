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

// A link is a session's place in a chain of renewals that began with one proof of an
// identity. The zero link belongs to a session of an older broker; its renewal begins a
// chain.
type link struct {
	Chain string `json:"f,omitempty"` // the same in the whole chain
	ID    string `json:"i,omitempty"` // the session's own
}

func newLink() link {
	chain := rand.Text()
	return link{Chain: chain, ID: chain}
}

// Renewals detects a session that two holders renew, such as two sandboxes resumed from one
// snapshot. The store has an entry per chain with its newest session. A session can be
// renewed once. A holder that renews an older one is refused, and the holder of the newest
// one from then on, because either may be the copy. Two renewals at the same moment may both
// succeed; the next renewal of either is refused.
type Renewals struct{ Store store.Store }

const (
	// keylessRetry is how long a client without an attempt key may repeat a renewal whose
	// answer was lost.
	keylessRetry = 2 * time.Minute
	// copiedFor is how long a chain stays refused: as long as the key that signed its newest
	// session can be valid.
	copiedFor = day + verifies
	copied    = "copied"
)

// Next returns the link of the session that replaces the one at l. attempt is the client's
// attempt key: a repeated attempt gets the same link. From until on, the new session can be
// neither used nor renewed. The error is a [*broker.Refusal].
func (r Renewals) Next(ctx context.Context, l link, attempt string, now, until time.Time) (link, error) {
	if l.Chain == "" {
		return newLink(), nil
	}
	if r.Store == nil {
		return link{}, storeTimeout(errors.New("there is no store"))
	}
	next := link{Chain: l.Chain, ID: successor(l.ID, attempt)}
	name := store.UsedProof(idOf("renewed session", l.Chain))
	entry, err := r.Store.Get(ctx, name)
	isFirst := errors.Is(err, store.ErrNotFound) && l.ID == l.Chain
	switch {
	case isFirst:
	case errors.Is(err, store.ErrNotFound):
		return link{}, unsure("the broker no longer knows this session; prove the identity again")
	case err != nil:
		return link{}, storeTimeout(err)
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
		return link{}, storeTimeout(err)
	}
	return next, nil
}

// successor is the ID of the next session: the same for a repeated attempt. Without a key,
// every attempt differs.
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
		return storeTimeout(err)
	}
	return refused(http.StatusForbidden, broker.ReasonCopied,
		"two sandboxes use this session, as copies of one snapshot do, so neither can renew it; give each sandbox its own identity or join token")
}

func storeTimeout(err error) *broker.Refusal { return soon(broker.StoreUnavailable(err)) }

// A renewal is the store's entry for a chain. It begins like an entry of [store.Claim], so
// that it is deleted like one.
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

// parseRenewal parses what secret wrote. Any other text ends the chain.
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

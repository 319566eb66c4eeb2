package revoke

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

const (
	// claimLife is how long one replica may work on a delivery: revokeTimeout, storeTimeout,
	// and the difference between the clocks of replicas.
	claimLife = 2 * time.Minute
	// storeTimeout is for recording the outcome of a delivery.
	storeTimeout = 10 * time.Second
	// maxDied is how many replicas may die while they work on one delivery.
	maxDied = 20

	maxDeliveries = 10000 // held in memory

	handled = "handled"
)

// eventSum is the hash of a delivery's body, which is what GitHub signed. It also
// identifies the event, because [checkForm] accepts a body for one event name only.
type eventSum [sha256.Size]byte

// deliver applies a change, once for each body at all replicas. After a failure it
// deletes the claim, because GitHub delivers the same body again on request. The claim
// of a replica that died expires after claimLife.
func (r *Revoker) deliver(ctx context.Context, id string, sum eventSum, ch Change) error {
	unbound := context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(unbound, revokeTimeout)
	defer cancel()
	name, err := r.claim(ctx, sum)
	if err != nil {
		return err
	}
	err = r.Apply(ctx, id, ch)
	after, cancelAfter := context.WithTimeout(unbound, storeTimeout)
	defer cancelAfter()
	if err != nil {
		if lost := r.Store.Delete(after, name); lost != nil {
			r.Log.ErrorContext(ctx, "a webhook delivery failed and can be repeated only after two minutes", "error", lost)
		}
		return err
	}
	r.deliveries.add(sum)
	if err := store.PutDue(after, r.Store, name, store.NewSecret(handled), store.Replace, r.Now().Add(store.DeliveryLife)); err != nil {
		return broker.StoreUnavailable(err)
	}
	return nil
}

// claim reserves a delivery for this call, and returns the entry of the claim. The claim of
// a replica that died stays in the store. The next claim has another name, which only one
// of all replicas can create.
func (r *Revoker) claim(ctx context.Context, sum eventSum) (store.Name, error) {
	if r.deliveries.has(sum) {
		return store.Name{}, conflict("this event was handled before")
	}
	for died := range maxDied {
		name := store.Delivery(sha256.Sum256(binary.BigEndian.AppendUint32(sum[:], uint32(died))))
		entry, err := r.Store.Get(ctx, name)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return name, r.claimName(ctx, name)
		case errors.Is(err, store.ErrDamaged):
			continue // the claim of a replica whose outcome is unknown
		case err != nil:
			return store.Name{}, broker.StoreUnavailable(err)
		case entry.Value.Reveal() == handled:
			r.deliveries.add(sum)
			return store.Name{}, conflict("this event was handled before")
		}
		if until, err := store.ClaimedUntil(entry); err == nil && r.Now().Before(until) {
			return store.Name{}, conflict("this event is being handled")
		}
	}
	return store.Name{}, conflict("too many brokers stopped while they handled this event")
}

func (r *Revoker) claimName(ctx context.Context, name store.Name) error {
	won, err := store.Claim(ctx, r.Store, name, r.Now().Add(claimLife))
	if err != nil {
		return broker.StoreUnavailable(err)
	}
	if !won {
		return conflict("this event is being handled")
	}
	return nil
}

func conflict(detail string) error {
	return &broker.Refusal{Status: http.StatusConflict, Reason: broker.ReasonRequest, Detail: detail}
}

// deliveries are the last deliveries that this replica knows to be handled, so that a
// repeated one needs no call of the store. The store has those of a week.
type deliveries struct {
	mu    sync.Mutex // guards known
	known []eventSum
}

func (d *deliveries) has(sum eventSum) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.known, sum)
}

func (d *deliveries) add(sum eventSum) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxDeliveries {
		d.known = slices.Delete(d.known, 0, maxDeliveries/2)
	}
	d.known = append(d.known, sum)
}

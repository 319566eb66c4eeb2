package console

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
	// claimLife is how long a delivery is one replica's to act on. It is longer than
	// killTime, by what the clocks of replicas may differ and by storeTime.
	claimLife = 2 * time.Minute
	// storeTime is for writing down what came of a delivery.
	storeTime = 10 * time.Second
	// maxDied is how many replicas may die while they act on one delivery.
	maxDied = 20

	maxDeliveries = 10000 // remembered in memory

	handled = "handled"
)

// eventSum is the hash of a delivery's body, which is what GitHub signed. It stands
// for the event as well: [checkForm] takes a body under the name of one event only.
type eventSum [sha256.Size]byte

// deliver does what a change asks for, once for each body at all replicas. What
// failed is given back, since GitHub delivers the same body again when it is asked
// to; what a replica died of is free after claimLife.
func (c *Console) deliver(w http.ResponseWriter, r *http.Request, id string, sum eventSum, change change) error {
	unbound := context.WithoutCancel(r.Context())
	ctx, cancel := context.WithTimeout(unbound, killTime)
	defer cancel()
	name, err := c.claim(ctx, sum)
	if err != nil {
		return err
	}
	err = c.apply(ctx, id, change)
	after, cancelAfter := context.WithTimeout(unbound, storeTime)
	defer cancelAfter()
	if err != nil {
		if lost := c.Store.Delete(after, name); lost != nil {
			c.log(ctx, "a webhook delivery that failed can be delivered again after two minutes only", lost)
		}
		return err
	}
	c.deliveries.add(sum)
	if err := c.Store.Put(after, name, store.NewSecret(handled), store.Replace); err != nil {
		return noStore(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// claim makes a delivery this call's to act on, and returns where that is written
// down. Where a replica died while it acted, the claim that it left stays, and the
// next one has another name: of all who come after it, one creates that.
func (c *Console) claim(ctx context.Context, sum eventSum) (store.Name, error) {
	if c.deliveries.has(sum) {
		return store.Name{}, twice("this event was handled before")
	}
	for died := range maxDied {
		name := store.Delivery(sha256.Sum256(binary.BigEndian.AppendUint32(sum[:], uint32(died))))
		entry, err := c.Store.Get(ctx, name)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return name, c.claimName(ctx, name)
		case errors.Is(err, store.ErrDamaged):
			continue // nobody can tell what came of it
		case err != nil:
			return store.Name{}, noStore(err)
		case entry.Value.Reveal() == handled:
			c.deliveries.add(sum)
			return store.Name{}, twice("this event was handled before")
		}
		if until, err := store.ClaimedUntil(entry); err == nil && c.now().Before(until) {
			return store.Name{}, twice("this event is being handled")
		}
	}
	return store.Name{}, twice("too many brokers ended while they handled this event")
}

func (c *Console) claimName(ctx context.Context, name store.Name) error {
	won, err := store.Claim(ctx, c.Store, name, c.now().Add(claimLife))
	if err != nil {
		return noStore(err)
	}
	if !won {
		return twice("this event is being handled")
	}
	return nil
}

func twice(detail string) error {
	return &broker.Refusal{Status: http.StatusConflict, Reason: broker.ReasonRequest, Detail: detail}
}

// deliveries are those of which this replica knows that they were handled. The store
// knows all of a week.
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

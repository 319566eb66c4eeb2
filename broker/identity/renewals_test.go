package identity

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/faultinject"
	"github.com/gatepass/gatepass/test/storetest"
)

// A chain renews sessions, with a store and a clock.
type chain struct {
	t   *testing.T
	r   Renewals
	now time.Time
}

func newChain(t *testing.T) (*chain, link) {
	return &chain{t, Renewals{&storetest.Memory{}}, time.Now()}, newLink()
}

func (c *chain) renew(l link, attempt string) (link, error) {
	return c.r.Next(c.t.Context(), l, attempt, c.now, c.now.Add(SessionLife))
}

func (c *chain) must(l link, attempt string) link {
	c.t.Helper()
	next, err := c.renew(l, attempt)
	if err != nil || next.Chain != l.Chain || next.ID == l.ID {
		c.t.Fatalf("Next(%v, %q) = %v, %v, want another link of the chain", l, attempt, next, err)
	}
	return next
}

func (c *chain) refused(l link, attempt string) {
	c.t.Helper()
	if next, err := c.renew(l, attempt); broker.RefusalOf(err).Reason != broker.ReasonCopied || !strings.Contains(err.Error(), "two sandboxes use this session, as copies of one snapshot do, so neither can renew it; give each sandbox its own identity or join token") {
		c.t.Errorf("Next(%v, %q) = %v, %v, want that the session was copied", l, attempt, next, err)
	}
}

// Two sandboxes that were resumed from one snapshot.
func TestTheSecondRenewalOfASessionEndsBoth(t *testing.T) {
	c, first := newChain(t)
	second := c.must(first, "a-1")
	third := c.must(second, "a-2")
	c.now = c.now.Add(7 * time.Minute)
	c.refused(second, "b-1")
	c.refused(third, "a-3")
	c.refused(second, "b-1")
	c.refused(second, "")
}

func TestARenewalWhoseAnswerWasLostIsRepeated(t *testing.T) {
	c, first := newChain(t)
	second := c.must(first, "a")
	c.now = c.now.Add(time.Hour)
	if again, err := c.renew(first, "a"); err != nil || again != second {
		t.Errorf("a repeated attempt: %v, %v, want the link %v again", again, err, second)
	}
	c.must(second, "b")
}

// Older agents send no key.
func TestARenewalWithoutAKeyIsRepeatedForTwoMinutes(t *testing.T) {
	c, first := newChain(t)
	second := c.must(first, "")
	c.now = c.now.Add(keylessRetry - time.Second)
	if again, err := c.renew(first, ""); err != nil || again != second {
		t.Errorf("a repeated attempt: %v, %v, want the link %v again", again, err, second)
	}
	third := c.must(second, "")
	c.refused(first, "")
	c.refused(third, "")

	c, first = newChain(t)
	c.must(first, "")
	c.now = c.now.Add(keylessRetry)
	c.refused(first, "")
}

// Sessions of an older broker have no link.
func TestASessionWithoutALinkBeginsAChain(t *testing.T) {
	c, _ := newChain(t)
	for range 2 {
		l, err := c.renew(link{}, "")
		if err != nil || l.Chain == "" {
			t.Fatalf("Next = %v, %v, want a chain", l, err)
		}
		c.must(l, "a")
	}
}

// Two replicas that read at the same moment may both renew, in a store without compare
// and swap. The next renewal of either reveals it.
func TestTwoRenewalsAtOneMoment(t *testing.T) {
	c, first := newChain(t)
	one, other := c.must(first, "a"), link{first.Chain, successor(first.ID, "b")}
	name := store.UsedProof(idOf("renewed session", first.Chain))
	if err := c.r.Store.Put(t.Context(), name, renewal{c.now.Add(time.Hour), other.ID, first.ID, c.now}.secret(), store.Replace); err != nil {
		t.Fatal(err)
	}
	c.refused(one, "a-2")
	c.refused(other, "b-2")
}

// Without the store nothing can be compared, so nothing is renewed.
func TestNothingIsRenewedWithoutTheStore(t *testing.T) {
	c, first := newChain(t)
	second := c.must(first, "a")
	memory := c.r.Store
	for n := range 2 {
		c.r.Store = faultinject.Store{Store: memory, Trouble: &faultinject.Trouble{Kind: faultinject.StoreDown, At: n + 1}}
		if _, err := c.renew(second, "b"); broker.RefusalOf(err).Status != 503 {
			t.Errorf("call %d fails: %v, want 503", n, err)
		}
	}
	c.r.Store = nil
	if _, err := c.renew(second, "b"); broker.RefusalOf(err).Status != 503 {
		t.Errorf("without a store: %v, want 503", err)
	}
	c.r.Store = memory
	third := c.must(second, "b")
	if err := memory.Delete(t.Context(), store.UsedProof(idOf("renewed session", first.Chain))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.renew(third, "c"); broker.RefusalOf(err).Status != 401 {
		t.Errorf("an entry that is gone: %v, want 401", err)
	}
	if errors.Is(memory.Put(t.Context(), store.UsedProof(idOf("renewed session", first.Chain)), store.NewSecret("damaged"), store.CreateOnly), store.ErrExists) {
		t.Fatal("the entry is there again")
	}
	c.refused(third, "c")
}
